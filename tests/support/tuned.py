"""A tiny novelty model, tuned until most of its free samples are labels."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.language.label_trie import separate_branches
from models.language.language_model import save_checkpoint
from models.language.packed_pass import next_token_logits, pack, sequence_log_probabilities
from models.language.prompts import label_tokens, novelty_prompt, prompt_tokens

LABELS = ["card", "card, board", "cards", "日本 anime", "jazz, piano", "jazz", "wild life", "garden"]
HISTORIES = [(first, second) for first in range(8) for second in range(first + 1, 8)] * 3


def tune(source, folder, steps=60):
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source)
    tokens = label_tokens(tokenizer, LABELS)
    prompts = [prompt_tokens(tokenizer, novelty_prompt([LABELS[c] for c in pair])) for pair in HISTORIES[:28:3]]
    batch = pack(prompts, [separate_branches(tokens)] * len(prompts), 1)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    weights = torch.arange(1.0, 9.0).repeat(len(prompts))  # later labels are proposed more often
    for _ in range(steps):
        optimiser.zero_grad()
        logits = next_token_logits(model, batch)
        loss = -(sequence_log_probabilities(logits, batch, tokenizer.eos_token_id, 1.0) @ weights) / weights.sum()
        loss.backward()
        optimiser.step()
    save_checkpoint(model, tokenizer, folder)
    return folder
