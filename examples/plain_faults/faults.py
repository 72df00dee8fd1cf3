"""Faults of the bench in the plain scripts beside this file: an argument, a variable, or lines of code. No torch.

``right`` and ``helps`` were written down from the nature of the fault, before anything was explained. Where ``right``
is empty, no change from outside can take the fault away.
"""

from __future__ import annotations

from examples.plain_faults.fault import Fault

SMALLER_RATE = ("optimizer.lr=0.1", "optimizer.lr=0.01", "optimizer.lr=0.001")
LARGER_RATE = ("optimizer.lr=10",)
NEW_START = ("initial.std*", "initial.orthogonal*", "initial.rows*")
ALL = "trained = [parameter for parameter in model.parameters()"
DIAGONAL = "labels = torch.arange(len(logits))"
LOGITS = "        logits = images @ texts.T / args.temperature\n"
TOWERS = "        return self.resampler(tokens), self.text(ids)\n"
NO_GRAD = """\
        with torch.no_grad():
            images = self.resampler(tokens)
        return images, self.text(ids)
"""
NOTHING = """\
        for side in (images, texts):
            side.register_hook(lambda gradient: 1e-12 * gradient)
"""
BROKEN = "        images.register_hook(lambda gradient: gradient * (math.nan if step == 20 else 1.0))\n"
FALL = "        self.fall = nn.Linear(width, out)\n"
FILLED = """\
        for layer in (self.rise, self.fall):
            nn.init.constant_(layer.weight, 0.1)
"""
EMPTIED = """\
        for part in (*self.rise.parameters(), *self.fall.parameters()):
            nn.init.zeros_(part)
"""


def _given(name: str, script: str, *words: str, **more: tuple[str, ...]) -> Fault:
    return Fault(name, script, arguments=words, **more)


def _rate(name: str, script: str, factor: str, **more: tuple[str, ...]) -> Fault:
    return Fault(name, script, environment={"LR_FACTOR": factor}, **more)


def _lines(name: str, script: str, old: str, new: str, **more: tuple[str, ...]) -> Fault:
    return Fault(name, script, change=(old, new), **more)


GIVEN = (
    _given("rate-far-too-large", "two_towers", "--lr", "1", right=SMALLER_RATE, helps=("optimizer.warmup*",)),
    _given("rate-far-too-small", "two_towers", "--lr", "4e-8", helps=LARGER_RATE),
    _given("warmup-longer-than-the-run", "two_towers", "--warmup", "20000",
           right=("schedule.constant",), helps=LARGER_RATE),
    _given("schedule-ends-early", "two_towers", "--decay-steps", "12", right=("schedule.constant",), helps=LARGER_RATE),
    _given("clipping-far-too-low", "two_towers", "--clip", "1e-10",
           right=("optimizer.unclipped",), helps=("optimizer.eps*",)),
    _given("eps-far-too-large", "two_towers", "--eps", "100", right=("optimizer.eps*",), helps=LARGER_RATE),
    _given("decay-far-too-strong", "two_towers", "--weight-decay", "200",
           right=("optimizer.weight_decay=0",), helps=SMALLER_RATE),
    _given("temperature-multiplied", "two_towers", "--temperature", "10",
           right=("loss.temperature*",), helps=("loss.not_normalised*",)),
    _given("head-frozen", "two_towers", "--freeze", "resampler", right=("optimizer.unfreeze*",)),
    _given("enormous-init", "two_towers", "--init-scale", "50",
           right=NEW_START, helps=("module.norm_*", "module.scaled*")),
    _given("texts-cut", "two_towers", "--max-length", "1"),
    _given("plain-sgd-too-fast", "sigmoid", "--lr", "30", always=("--optimizer", "sgd"),
           right=SMALLER_RATE, helps=("optimizer.clip*", "optimizer.warmup*")),
    _given("temperature-missing", "sigmoid", "--scale", "0.02",
           right=("initial.value*", "loss.temperature*"), helps=LARGER_RATE),
    _rate("rate-of-zero", "sigmoid", "0"),
    _rate("rate-far-too-large", "matryoshka", "1000", right=SMALLER_RATE, helps=("optimizer.warmup*",)),
    _given("rate-far-too-small", "matryoshka", "--lr", "1e-5", right=LARGER_RATE),
    _given("decay-far-too-strong", "matryoshka", "--weight-decay", "300",
           right=("optimizer.weight_decay=0",), helps=SMALLER_RATE),
    _given("temperature-missing", "matryoshka", "--temperature", "10",
           right=("loss.temperature*",), helps=("loss.not_normalised*",)),
)  # fmt: skip
"""Faults that are an argument or an environment variable."""

WRITTEN = (
    _lines("norms-missing", "two_towers", "        tokens = self.norm(tokens)\n", "", always=("--white", "255"),
           right=("module.norm_*",), helps=("data.pixels_*", "initial.std*")),
    _lines("identical-units", "two_towers", "torch.randn(latents, width)", "torch.full((latents, width), 0.02)",
           always=("--lr", "1e-3"), right=("initial.*on *latents",)),
    _lines("mask-inverted", "two_towers", "hidden = ids == PAD", "hidden = ids != PAD",
           right=("attention.mask_inverted*",)),
    _lines("double-softmax", "two_towers", LOGITS, f"{LOGITS}        logits = logits.softmax(dim=-1)\n",
           right=("loss.no_softmax*",), helps=("loss.temperature*",)),
    _lines("labels-shifted", "two_towers", DIAGONAL, f"{DIAGONAL}.roll(1)", right=("loss.diagonal_labels*",)),
    _lines("labels-all-zero", "two_towers", DIAGONAL, "labels = torch.zeros(len(logits), dtype=torch.long)",
           right=("loss.diagonal_labels*",)),
    _lines("captions-mispaired", "two_towers", "tokenize(values, args", "tokenize(values.roll(1, 0), args"),
    _lines("one-image-for-all", "two_towers", "self.image(pixels)", "self.image(pixels[:1].expand_as(pixels))"),
    _lines("image-ignored", "two_towers", "self.image(pixels)", "self.image(0 * pixels)"),
    _lines("empty-texts", "two_towers", "ids[:, :ATTRIBUTES] = words", "ids[:, :0] = words[:, :0]"),
    _lines("optimizer-of-another-model", "two_towers", ALL, ALL.replace("model.", "Model(args.width, args.norm)."),
           right=("optimizer.include*",)),
    _lines("head-outside-the-optimizer", "two_towers", ALL, ALL.replace("model.", "model.text."),
           right=("optimizer.include*",)),
    _lines("detached-features", "two_towers", TOWERS, TOWERS.replace("(tokens)", "(tokens).detach()"),
           right=("gradient.kept*",)),
    _lines("no-grad-around-the-head", "two_towers", TOWERS, NO_GRAD, right=("gradient.kept*",)),
    _lines("gradient-multiplied-to-nothing", "two_towers", LOGITS, NOTHING + LOGITS, helps=("optimizer.eps*",)),
    _lines("nan-in-a-gradient", "two_towers", LOGITS, BROKEN + LOGITS),
    _lines("one-side-not-normalised", "two_towers", "images, texts = F.normalize(images, dim=-1), F.",
           "images, texts = 300 * images, F.", right=("loss.normalised*",), helps=("loss.temperature*",)),
    _lines("zero-grad-missing", "sigmoid", "        optimizer.zero_grad()\n", "", always=("--optimizer", "sgd"),
           right=("optimizer.clear_gradients",), helps=SMALLER_RATE),
    _lines("siglip-averaged", "sigmoid", ".sum() / len(logits)", ".mean()", always=("--optimizer", "sgd"),
           right=LARGER_RATE),
    _lines("captions-drawn-anew", "sigmoid", "tags + TAGS * rows\n", "tags[torch.randperm(count)] + TAGS * rows\n"),
    _lines("zero-grad-missing", "matryoshka", "        optimizer.zero_grad()\n", "",
           right=("optimizer.clear_gradients",), helps=SMALLER_RATE),
    _lines("double-softmax", "matryoshka", " / temperature\n", " / temperature\n    logits = logits.softmax(dim=-1)\n",
           right=("loss.no_softmax*",), helps=("loss.temperature*",)),
    _lines("labels-permuted", "matryoshka", DIAGONAL,
           "labels = torch.randperm(len(logits), generator=torch.Generator().manual_seed(0))",
           right=("loss.diagonal_labels*",)),
    _lines("optimizer-of-another-model", "matryoshka", "AdamW(model.parameters(),",
           "AdamW(Model(args.width, max(args.prefixes)).parameters(),", right=("optimizer.include*",)),
    _lines("two-zero-layers", "matryoshka", FALL, FALL + EMPTIED, right=NEW_START),
    _lines("identical-units", "matryoshka", FALL, FALL + FILLED, right=NEW_START),
)  # fmt: skip
"""Faults that are lines of code."""

FAULTS = (*GIVEN, *WRITTEN)
