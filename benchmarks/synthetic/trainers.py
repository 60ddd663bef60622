"""The peers of the alignment model's training: transformers' Trainer (pointwise) and TRL's RewardTrainer (pairwise)."""

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from models.language.fine_tuning import GRADIENT_NORM
from models.language.prompts import alignment_prompt, prompt_tokens


class StepTurns(TrainerCallback):
    """A trainer's steps in turn; what a trainer does between two steps counts to the later one."""

    def __init__(self, turns):
        self.turns = turns

    def on_train_begin(self, *_, **__):
        self.turns.begin()

    def on_step_end(self, _, state, *__, **___):
        self.turns.end()
        if state.global_step < state.max_steps:
            self.turns.begin()


class MasterAdamW(torch.optim.AdamW):
    """``models.language.fine_tuning.Optimiser`` for a trainer: float32 weights and gradients behind bfloat16 ones."""

    def __init__(self, model, schedule):
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.masters = [weight.detach().float() for weight in self.weights]
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.register_post_accumulate_grad_hook(lambda weight, master=master: self.move_gradient(weight, master))
        super().__init__(self.masters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)

    @staticmethod
    def move_gradient(weight, master):
        part = weight.grad.float()
        master.grad = part if master.grad is None else master.grad + part
        weight.grad = None

    @torch.no_grad()
    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_(self.masters, GRADIENT_NORM)
        super().step(closure)
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.copy_(master)
            master.grad = None


class SoftLabelTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # noqa: ARG002
        scores = inputs.pop("scores")
        logits = model(**inputs, use_cache=False).logits.squeeze(-1).float()
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, scores)


def row_tokens(training, served):
    """Prompt and label of every cluster of a history, exactly as the packed training reads them."""
    prompt = prompt_tokens(training.tokenizer, alignment_prompt([training.reader.labels[c] for c in served.history]))
    return [prompt + training.reader.tokens[cluster] for cluster in served.clusters]


def trainer_settings(steps, rows_per_step, rows_per_pass, folder):
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": rows_per_pass,
        "gradient_accumulation_steps": rows_per_step // rows_per_pass,
        "train_sampling_strategy": "sequential",
        "max_grad_norm": 0.0,  # the optimiser clips the float32 gradients
        "use_cpu": True,
        "bf16": False,  # the model is in bfloat16 already: no autocast
        "gradient_checkpointing": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }


def transformers_trainer(training, steps, folder, optimizers, batch):
    rows = []
    for histories in steps:
        step = [
            {"input_ids": tokens, "score": score}
            for served in histories
            for tokens, score in zip(row_tokens(training, served), served.scores, strict=True)
        ]
        rows += sorted(step, key=lambda row: len(row["input_ids"]))
    padding = training.model.config.pad_token_id

    def collate(part):
        width = max(len(row["input_ids"]) for row in part)
        missing = [width - len(row["input_ids"]) for row in part]
        ids = [row["input_ids"] + [padding] * count for row, count in zip(part, missing, strict=True)]
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor([[1] * (width - count) + [0] * count for count in missing]),
            "scores": torch.tensor([row["score"] for row in part], dtype=torch.float32),
        }

    per_step = len(rows) // len(steps)
    settings = TrainingArguments(**trainer_settings(len(steps), per_step, batch, folder))
    return SoftLabelTrainer(training.model, settings, collate, rows, optimizers=optimizers)


def trl_trainer(training, steps, folder, optimizers, batch):
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    rows = []
    for histories in steps:
        step = []
        for served in histories:
            tokens = row_tokens(training, served)
            step += [{"chosen_ids": tokens[better], "rejected_ids": tokens[worse]} for better, worse in served.pairs]
        rows += sorted(step, key=lambda pair: max(map(len, pair.values())))
    per_step = len(rows) // len(steps)
    settings = RewardConfig(**trainer_settings(len(steps), per_step, batch, folder), max_length=None)
    return RewardTrainer(
        training.model,
        settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=training.tokenizer,
        optimizers=optimizers,
    )


def peer_steps(training, steps, schedule, turns, folder, batch):
    """Train a peer on the histories of every step, ``batch`` rows or pairs in a pass."""
    optimiser = MasterAdamW(training.model, schedule)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule.rate(step) / schedule.learning_rate)
    make = transformers_trainer if training.options.loss == "pointwise" else trl_trainer
    trainer = make(training, steps, folder, (optimiser, rates), batch)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StepTurns(turns))
    trainer.train()
