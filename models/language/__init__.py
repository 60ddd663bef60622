"""Language models: prompts, the label trie, packed and cached passes, the base model, fine-tuning, vLLM."""
