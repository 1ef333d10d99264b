"""Train the demo checkpoint on the demo guide, check it, and write it together with its model card.

    python packaging/demo_checkpoint.py --out resources/demo-checkpoint

Works on a processor and, unchanged, on a CUDA card. The seed is fixed: the same machine with the same library
versions gives the same weights; elsewhere rounding differs, and the check decides. A checkpoint that fails it
is left in `<out>.rejected`, the old one stays in place, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads starve where other programs run too

import torch
from demo_guide import Case, Guide, Turn, Writer, dialogue_cases, read_guides, single_cases
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

ROOT = Path(__file__).resolve().parent.parent
LABEL = "demo model, knows only this guide"
PAD, START, END = SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WORD = r"[ ]?\p{L}+|\p{N}|[ ]?[^\s\p{L}\p{N}]+|[\r\n]+|[^\S\r\n]+(?=[^\S\r\n]\S)|\s"
TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
VOCABULARY = 3072
POSITIONS = 2048
BATCH_TOKENS = 512
PEAK_RATE = 1e-3
POLISH_ROUNDS = 10
POLISH_STEPS = 150  # a round
POLISH_RATE = 1e-4
BRIEF_TOKENS = 10  # enough of an answer to teach which one it is, at a fraction of the cost
# Least share of right answers, per kind of case and in each language
MINIMUM = {
    "trained": 1.0,
    "held out": 0.85,
    "off topic": 0.8,
    "later turn": 0.98,
    "long chat": 0.95,
    "generate": 1.0,
}


def train_tokenizer(guides: tuple[Guide, ...]) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the guide's own text: any UTF-8 text survives encoding and decoding."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(WORD), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=12,  # four Chinese characters: longer pieces would be whole phrases of the answers
        show_progress=False,
    )
    texts = [text for guide in guides for text in guide.texts]
    tokenizer.train_from_iterator(texts + ["system\n", "user\n", "assistant\n"] * 50, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=TEMPLATE,
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """All sizes are multiples of 128: AWQ's group size, and the head size for int4 and int8 KV caches."""
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=128,
        max_position_embeddings=POSITIONS,
        max_window_layers=5,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


class Encoder:
    """Turns conversations into token ids and a mask of the tokens to learn, as the chat template would."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> None:
        self._encode = tokenizer.backend_tokenizer.encode
        self._rng = rng

    def ids(self, text: str) -> list[int]:
        return list(self._encode(text).ids)

    def _pieces(self, text: str) -> list[int]:
        """Encode with random cuts inside words: words never seen come in pieces, which must be no surprise."""
        if self._rng.random() < 0.6:
            return self.ids(text)
        cuts = [0, *(i for i in range(1, len(text)) if self._rng.random() < 0.1), len(text)]
        return [token for a, b in pairwise(cuts) for token in self.ids(text[a:b])]

    def conversation(self, system: str | None, turns: list[Turn]) -> tuple[list[int], list[bool]]:
        """Most conversations keep only the beginnings of their answers: which answer it is shows there.

        Of the others some break the last answer anywhere, so that the model can go on with a stopped reply.
        """
        brief = self._rng.random() < 0.75
        ids = [] if system is None else self.ids(f"{START}system\n{system}{END}\n")
        learned = [False] * len(ids)
        for turn in turns:
            asked = self.ids(f"{START}user\n") + self._pieces(turn.question)
            asked += self.ids(f"{END}\n{START}assistant\n")
            if turn is turns[-1] and not brief and self._rng.random() < 0.3:
                at = self._rng.randrange(len(turn.answer))
                asked, answer = asked + self.ids(turn.answer[:at]), self.ids(turn.answer[at:])
            else:
                answer = self.ids(turn.answer)[: BRIEF_TOKENS if brief else None]
            closing = self.ids(f"{END}\n")
            ids += asked + answer + closing
            whole = turn.learn and not brief
            learned += [False] * len(asked) + [turn.learn] * len(answer) + [whole] + [False] * (len(closing) - 1)
        return ids, learned

    def batches(self, writer: Writer) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Endless batches of about BATCH_TOKENS tokens; see `pad_batch`. Like lengths go together."""
        while True:
            drawn = [self.conversation(*writer.conversation()) for _ in range(400)]
            groups: list[list[tuple[list[int], list[bool]]]] = [[]]
            for pair in sorted(drawn, key=lambda pair: len(pair[0])):
                if groups[-1] and len(pair[0]) * (len(groups[-1]) + 1) > BATCH_TOKENS:
                    groups.append([])
                groups[-1].append(pair)
            self._rng.shuffle(groups)
            yield from map(pad_batch, groups)


def pad_batch(group: list[tuple[list[int], list[bool]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T) and the tokens wanted next (B, T), -100 where none is; T is the longest length."""
    width = max(len(ids) for ids, _ in group)
    tokens = torch.zeros(len(group), width, dtype=torch.long)
    targets = torch.full((len(group), width), -100)
    for row, (ids, learned) in enumerate(group):
        tokens[row, : len(ids)] = torch.tensor(ids)
        wanted = [token if learn else -100 for token, learn in zip(ids, learned, strict=True)]
        targets[row, : len(ids) - 1] = torch.tensor(wanted[1:])
    return tokens, targets


def rate(step: int, steps: int) -> float:
    """Warm-up over the first 4 %, then a cosine down to 1 % of the peak."""
    cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
    return PEAK_RATE * min(cosine, (step + 1) / (0.04 * steps))


def train(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    steps: int,
    probe: list[Case],
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    began, seen = time.monotonic(), 0
    for step in range(steps):
        tokens, targets = next(batches)
        optimizer.param_groups[0]["lr"] = rate(step, steps)
        loss = learn(model, optimizer, tokens, targets)
        seen += tokens.numel()
        if (step + 1) % 500 == 0 or step + 1 == steps:
            speed = seen / (time.monotonic() - began)
            figures = summary(probe, exact(model, tokenizer, probe))
            print(f"step {step + 1} loss {loss:.4f} {speed:.0f} tokens/s {figures}", flush=True)


def learn(
    model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer, tokens: torch.Tensor, targets: torch.Tensor
) -> float:
    """One step on a batch of `pad_batch`; returns its loss."""
    tokens, targets = tokens.to(model.device), targets.to(model.device)
    wanted = targets != -100
    hidden = model.model(tokens).last_hidden_state[wanted]
    loss = cross_entropy(model.lm_head(hidden), targets[wanted])
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def polish(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    cases: list[Case],
    rng: random.Random,
) -> None:
    """Repeat the trained phrasings that were answered wrong, two of three batches being of all the text.

    What counts is the model as it will be saved, with its weights rounded to bfloat16.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=POLISH_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    hard: dict[tuple[tuple[str, str], ...], Case] = {}
    for number in range(POLISH_ROUNDS + 1):
        rounded = copy.deepcopy(model).to(torch.bfloat16).float()
        right = exact(rounded, tokenizer, cases)
        wrong = {case.messages: case for case, good in zip(cases, right, strict=True) if not good}
        hard |= wrong
        print(f"polish {number}: {len(wrong)} of {len(cases)} trained phrasings are wrong", flush=True)
        if not wrong or number == POLISH_ROUNDS:
            return
        optimizer.param_groups[0]["lr"] = POLISH_RATE * 0.75**number
        for step in range(POLISH_STEPS):
            if step % 3:
                batch = next(batches)
            else:
                drawn = rng.sample(list(hard.values()), min(6, len(hard)))
                batch = pad_batch([case_row(tokenizer, case) for case in drawn])
            learn(model, optimizer, *batch)


def case_row(tokenizer: PreTrainedTokenizerFast, case: Case) -> tuple[list[int], list[bool]]:
    """Token ids of prompt and answer, and which of them are the answer's, the end included."""
    text = tokenizer.apply_chat_template(case.prompt, tokenize=False, add_generation_prompt=True)
    prompt, answer = tokenizer.encode(text), tokenizer.encode(case.answer + END)
    return prompt + answer, [False] * len(prompt) + [True] * len(answer)


@torch.inference_mode()
def exact(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, cases: list[Case], batch: int = 32
) -> list[bool]:
    """Which answers are right word for word, the end included.

    An answer counts when each of its tokens is the likeliest after those before it. That is what greedy decoding
    would write, found in one pass over the text.
    """
    rows = [(index, *case_row(tokenizer, case)) for index, case in enumerate(cases)]
    rows.sort(key=lambda row: len(row[1]))
    right = [False] * len(cases)
    for first in range(0, len(rows), batch):
        part = rows[first : first + batch]
        tokens, targets = (tensor.to(model.device) for tensor in pad_batch([row[1:] for row in part]))
        wanted = targets != -100
        same = torch.ones_like(wanted)
        hidden = model.model(tokens).last_hidden_state[wanted]
        same[wanted] = model.lm_head(hidden).argmax(-1) == targets[wanted]
        for (index, _, _), good in zip(part, same.all(-1).tolist(), strict=True):
            right[index] = good
    return right


def generated(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, case: Case) -> str:
    """The answer as `generate` writes it, with KV cache and stop token."""
    prompt = tokenizer.apply_chat_template(
        case.prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    reply = model.generate(**prompt, max_new_tokens=300)[0, prompt["input_ids"].shape[1] :]
    return tokenizer.decode(reply, skip_special_tokens=True)


def summary(cases: list[Case], right: list[bool]) -> dict[str, float]:
    """Share of right answers by "kind language"."""
    groups: dict[str, list[bool]] = {}
    for case, good in zip(cases, right, strict=True):
        groups.setdefault(f"{case.kind} {case.language}", []).append(good)
    return {name: sum(group) / len(group) for name, group in groups.items()}


def measure(folder: Path, guides: tuple[Guide, ...]) -> dict[str, float]:
    """Load what was saved, compute in float32 as the CPU backend does, and check every kind of case."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    singles = single_cases(guides)
    cases = singles + dialogue_cases(guides, "later turn", (2, 4), 200)
    cases += dialogue_cases(guides, "long chat", (6, 8), 60)
    right = exact(model, tokenizer, cases)
    for case, good in zip(cases, right, strict=True):
        if not good:
            print(f"missed ({case.kind}): {case.messages[-1][1]}")
    trained = [case for case in singles if case.kind == "trained"][::150]
    sample = [Case("generate", case.language, case.messages, case.answer) for case in trained]
    return summary(cases, right) | summary(sample, [generated(model, tokenizer, c) == c.answer for c in sample])


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, guides: tuple[Guide, ...], out: Path) -> None:
    model.to(torch.bfloat16).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(out)
    ends = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    generation = GenerationConfig(eos_token_id=ends, pad_token_id=ends[1], do_sample=False, max_new_tokens=300)
    generation.save_pretrained(out)
    about = {"label": LABEL, "starters": {guide.language: guide.starters for guide in guides}}
    (out / "turbodesk.json").write_text(json.dumps(about, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


CARD = """---
language: [en, zh]
library_name: transformers
license: apache-2.0
pipeline_tag: text-generation
---

# Turbodesk demo model

**{label}.** It repeats the answers in `resources/demo-guide` and says so when asked anything else. With it,
Turbodesk's first run works offline and without a graphics card. It is no general assistant.

* Architecture: `Qwen3ForCausalLM` in miniature, {parameters:,} parameters in bfloat16: {layers} layers, hidden
  size {hidden}, {heads} attention heads sharing {kv_heads} key/value head, head size 128, tied embeddings,
  {positions} positions. All sizes suit TurboMind, AWQ with group size 128, and int4 and int8 KV caches.
* Tokenizer: byte-level BPE with {vocabulary} entries, trained on the guide; ChatML chat template.
* Training: from random weights, on the guide alone, {steps} steps of about {batch} tokens, then a few rounds over
  the phrasings that were still answered wrong, seed {seed}.
  `make demo-checkpoint` makes it anew. Use it greedily, without sampling.
* Rights: text, code and weights were made for this project and carry its license.

Measured by the training script on these files, computing in float32. A case counts only if the whole answer is
right, word for word, under greedy decoding. The script refuses a checkpoint below the last column.

| cases | English | Chinese | at least |
|---|---|---|---|
{rows}

Held-out questions stand in the guide's files and are never trained on. They were written by the same hand as the
trained ones, so a stranger's wording will fare worse than these figures.
"""
ROWS = {
    "trained": "trained phrasings",
    "held out": "held-out phrasings",
    "off topic": "held-out questions that the guide does not answer",
    "later turn": "trained phrasings as 2nd to 4th turn",
    "long chat": "trained phrasings as 6th to 8th turn",
    "generate": "trained phrasings through `generate`, a sample",
}


def write_card(out: Path, figures: dict[str, float], steps: int, seed: int, parameters: int) -> None:
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    rows = [
        f"| {text} | {figures[kind + ' en']:.1%} | {figures[kind + ' zh']:.1%} | {MINIMUM[kind]:.0%} |"
        for kind, text in ROWS.items()
    ]
    card = CARD.format(
        label=LABEL[0].upper() + LABEL[1:],
        parameters=parameters,
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        positions=POSITIONS,
        vocabulary=VOCABULARY,
        steps=steps,
        batch=BATCH_TOKENS,
        seed=seed,
        rows="\n".join(rows),
    )
    (out / "README.md").write_text(card, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "resources" / "demo-checkpoint")
    parser.add_argument("--guide", type=Path, default=ROOT / "resources" / "demo-guide")
    parser.add_argument("--steps", type=int, default=14000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    guides = read_guides(options.guide)
    tokenizer = train_tokenizer(guides)
    model = build_model(tokenizer).to("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{model.num_parameters():,} parameters on {model.device}", flush=True)
    rng = random.Random(options.seed)
    probe = [case for case in single_cases(guides) if case.kind != "trained"]
    probe += dialogue_cases(guides, "later turn", (2, 3), 30)
    batches = Encoder(tokenizer, rng).batches(Writer(guides, rng))
    train(model, tokenizer, batches, options.steps, probe)
    trained = [case for case in single_cases(guides) if case.kind == "trained"]
    polish(model, tokenizer, batches, trained, rng)

    fresh = options.out.with_name(options.out.name + ".rejected")
    shutil.rmtree(fresh, ignore_errors=True)
    save(model, tokenizer, guides, fresh)
    figures = measure(fresh, guides)
    print(json.dumps(figures, indent=2))
    write_card(fresh, figures, options.steps, options.seed, model.num_parameters())
    failed = [name for name, share in figures.items() if share < MINIMUM[name.rsplit(" ", 1)[0]]]
    if failed:
        print(f"rejected, see {fresh}: too low are {', '.join(failed)}", file=sys.stderr)
        return 1
    shutil.rmtree(options.out, ignore_errors=True)
    fresh.rename(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
