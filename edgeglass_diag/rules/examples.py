"""For each rule what is wrong and what is right, in a line of code or of a log."""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """Two lines that differ in what the rule is about."""

    faulty: str
    healthy: str


EXAMPLES: dict[str, Example] = {
    "EG001": Example("latents = Parameter(torch.randn(64, 512)); nn.init.normal_(latents, std=0.02)",
                     "latents = Parameter(0.02 * torch.randn(64, 512))"),
    "EG002": Example("latents = Parameter(torch.ones(64, 512))", "latents = Parameter(torch.randn(64, 512))"),
    "EG003": Example("AdamW(model.visual.parameters()); loss uses model.text_proj", "AdamW(model.parameters())"),
    "EG004": Example("model.requires_grad_(False)  # new projector included", "model.visual.requires_grad_(False)"),
    "EG005": Example("with torch.no_grad(): z = head(features)", "with torch.no_grad(): features = tower(x)"),
    "EG006": Example("self.head = Linear(512, 256); forward never calls it", "return self.head(pooled)"),
    "EG007": Example("nn.init.zeros_(mlp[0].weight); nn.init.zeros_(mlp[2].weight)", "nn.init.zeros_(mlp[2].weight)"),
    "EG050": Example("nn.init.normal_(latents, std=0.02); to_query(latents)", "to_query(norm(latents))"),
    "EG051": Example("latents = Parameter(torch.zeros(64, 512))", "nn.init.trunc_normal_(latents, std=0.02)"),
    "EG052": Example("logits of std 5 over 257 keys at step 0", "logits of std 0.5 over 257 keys"),
    "EG053": Example("SGD(model.image.parameters()); the loss uses model.text", "SGD(model.parameters())"),
    "EG101": Example("entropy 0.99 at step 400 while the loss is ln B", "entropy 0.99 at init, or as the loss falls"),
    "EG102": Example("64 latents, 1.00000 distinct outputs at step 200", "64 latents, 1.2 distinct outputs"),
    "EG103": Example("scores = q @ k.T", "scores = q @ k.T / math.sqrt(q.shape[-1])"),
    "EG104": Example("attention/logit_max 2e4", "attention/logit_max 30"),
    "EG105": Example("key_padding_mask=tokens != PAD", "key_padding_mask=tokens == PAD"),
    "EG106": Example("mask = torch.zeros(B, 1, 1, L, dtype=torch.bool)  # an empty text", "mask[..., 0] = True"),
    "EG201": Example("torch.sigmoid(50 * x) in front of the tower", "nn.GELU()(x)"),
    "EG202": Example("lr=0.128 at width 128: a step changes a matrix by 11 %", "lr=1.6e-2: by 1 %"),
    "EG203": Example("CosineAnnealingLR(optimizer, T_max=620) over 1240 steps", "T_max=1240 over 1240 steps"),
    "EG204": Example("loss 4.85, 4.9, 9.7, 31", "loss 6.02, 5.1, 4.3 (a large scale at the start)"),
    "EG205": Example("{'params': head.parameters(), 'lr': 0.0}", "{'params': head.parameters(), 'lr': 1e-3}"),
    "EG206": Example("lr=2e-9", "lr=2e-4"),
    "EG207": Example("loss 4.85, 2.1, 4.85, 4.85", "loss 4.85, 2.1, 2.3, 1.9"),
    "EG208": Example("SGD; clip_grad_norm_(parameters, 1e-3)", "clip_grad_norm_(parameters, 1.0)"),
    "EG209": Example("AdamW(model.parameters(), weight_decay=0.2)", "the logit scale in a group with weight_decay=0"),
    "EG210": Example("lr=1e-3, weight_decay=10, 1000 steps", "lr=1e-3, weight_decay=0.1, 1000 steps"),
    "EG211": Example("loss.backward(); optimizer.step()", "optimizer.zero_grad(); loss.backward(); optimizer.step()"),
    "EG212": Example("get_cosine_schedule(optimizer, warmup=10000, total=500)", "warmup=500, total=10000"),
    "EG213": Example("scheduler.step() after each of four micro-batches", "scheduler.step() after optimizer.step()"),
    "EG214": Example("loss.backward(); optimizer.zero_grad(); optimizer.step()",
                     "optimizer.zero_grad(); loss.backward(); optimizer.step()"),
    "EG215": Example("ema(into=model, of=teacher) after each step", "ema(into=teacher, of=model) after each step"),
    "EG301": Example("every cosine is 1.000 and the loss is ln B", "every cosine is 0.99 at init"),
    "EG302": Example("effective rank 1.0 of 128 at step 200", "effective rank 30 of 128"),
    "EG303": Example("logits = scale * image @ text.T", "logits = scale * normalize(image) @ normalize(text).T"),
    "EG304": Example("means 1.2 apart", "means 0.8 apart, as in CLIP"),
    "EG307": Example("loss = (1 - cosine_similarity(image, text)).mean()", "loss = cross_entropy(logits, labels)"),
    "EG308": Example("F.normalize(embedding, dim=0)", "F.normalize(embedding, dim=-1)"),
    "EG401": Example("4.8520 at batch 128, for 200 steps", "4.8520 at step 0, 4.1 at step 50"),
    "EG402": Example("val/loss = 0.0 beside R@10 = 0.89", "val/loss = 0.76 beside R@10 = 0.89"),
    "EG403": Example("logits = image @ text.T", "logits = image @ text.T / 0.07"),
    "EG404": Example("DataLoader(pairs, batch_size=1), 128 accumulated", "DataLoader(pairs, batch_size=128)"),
    "EG405": Example("cross_entropy(logits.softmax(-1), labels)", "cross_entropy(logits, labels)"),
    "EG406": Example("labels = torch.arange(B) + rank * B  # without a gather", "labels = torch.arange(B)"),
    "EG407": Example("scale = log_scale.exp()  # 244", "scale = log_scale.exp().clamp(max=100)"),
    "EG408": Example("scale 14.3 to 1, loss flat", "scale 14.3 to 12, then 30, loss falling"),
    "EG410": Example("logits = -scale * image @ text.T", "logits = -scale * cdist(image, text)"),
    "EG411": Example("-logsigmoid(signs * logits).mean()", "-logsigmoid(signs * logits).sum() / len(logits)"),
    "EG412": Example("cross_entropy(logits, ((tt + ii) / 2).softmax(-1))", "... .softmax(-1).detach())"),
    "EG413": Example("-logsigmoid(eye(B) * logits).sum() / B", "-logsigmoid((2 * eye(B) - 1) * logits).sum() / B"),
    "EG501": Example("batch = next(iter(loader)) in each step", "for batch in loader"),
    "EG502": Example("five captions of one image in a batch", "one caption of each image in a batch"),
    "EG503": Example("zip(images, sorted(captions))", "zip(images, captions)"),
    "EG504": Example("torch.as_tensor(pixels).float()  # 0 to 255", "Normalize(mean, std)(to_tensor(pixels))"),
    "EG505": Example("tokens = ids[:77]", "tokens = [*ids[:76], eos]"),
    "EG506": Example("context 512 for captions of 10 tokens", "context 77 for captions of 10 tokens"),
    "EG507": Example("def __getitem__(self, i): return self.pairs[0]", "return self.pairs[i]"),
    "EG509": Example("(image - image.mean()) / image.std()  # a black image", "(image - mean) / std"),
    "EG601": Example("R@1, R@5, R@10 = 1/1000, 5/1000, 10/1000", "0/1000, 6/1000, 9/1000"),
    "EG602": Example("R@1 = 0.5, R@5 = 0.2", "R@1 = 0.2, R@5 = 0.5"),
    "EG603": Example("recall(sim), recall(sim)", "recall(sim), recall(sim.T)"),
    "EG604": Example("rank = (scores > own).sum()  # all scores tie: R@1 = 1.0", "ties in the middle: R@1 = 1/N"),
    "EG605": Example("with torch.no_grad(): evaluate(model)", "model.eval(); with torch.no_grad(): evaluate(model)"),
    "EG606": Example("i2t/R@1 = nan", "i2t/R@1 = 0.31"),
    "EG607": Example("in-batch accuracy 0.9, R@10 = 0.004", "in-batch accuracy 0.9, R@10 = 0.7"),
    "EG701": Example("loss = full + 0.0 * prefix", "loss = full + prefix"),
    "EG702": Example("normalize(z)[:, :64]", "normalize(z[:, :64])"),
    "EG801": Example("loss nan from step 30 on", "one infinite gradient that the scaler skips"),
    "EG802": Example("autocast(dtype=float16) and loss.backward()", "scaler.scale(loss).backward()"),
    "EG803": Example("a third of the steps skipped after step 25", "two steps skipped at the start"),
}  # fmt: skip
"""By code; what a rule of another package resembles is its own business."""
