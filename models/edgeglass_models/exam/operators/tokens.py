"""Mistakes in tokens and their masks."""

from __future__ import annotations

import ast
from collections.abc import Callable

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import expression, is_call, name_of, number_of, replaced
from edgeglass_models.exam.operators.values import with_number

tokens = Family("tokens")

_MASKS = ("attention_mask", "mask", "text_mask", "key_padding_mask", "src_key_padding_mask", "encoder_attention_mask")
_PADDING = ("key_padding_mask", "src_key_padding_mask")
_IDS = ("input_ids", "ids", "text", "texts", "tokens")
_LENGTHS = ("max_length", "max_seq_length", "context_length", "max_len")


def _with_entry(
    tree: ast.Module, names: tuple[str, ...], change: Callable[[str, ast.expr], ast.expr]
) -> ast.Module | None:
    """Return the tree with what is given under some names replaced: arguments by keyword and entries of dicts."""
    found = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for given in node.keywords:
                if given.arg in names and not isinstance(given.value, ast.Constant):
                    given.value = change(given.arg or "", given.value)
                    found = True
        elif isinstance(node, ast.Dict):
            for index, key in enumerate(node.keys):
                value = node.values[index]
                if isinstance(key, ast.Constant) and key.value in names and not isinstance(value, ast.Constant):
                    node.values[index] = change(str(key.value), value)
                    found = True
    return tree if found else None


@tokens.patch(source="pytorch#27968, detr#96; DEForm inverted_mask", where=("text side", "data"))
def mask_inverted(tree: ast.Module) -> ast.Module | None:
    """The mask is inverted: padding is attended to, words are not."""

    def change(name: str, value: ast.expr) -> ast.expr:
        return expression("~X" if name in _PADDING else "1 - X", X=value)

    return _with_entry(tree, _MASKS, change)


@tokens.patch(source="DEForm zero_mask; Hugging Face: padding without attention_mask", where=("text side", "data"))
def mask_forgotten(tree: ast.Module) -> ast.Module | None:
    """No mask: padding counts as words."""

    def change(name: str, value: ast.expr) -> ast.expr:
        return expression("torch.zeros_like(X)" if name in _PADDING else "torch.ones_like(X)", X=value)

    return _with_entry(tree, _MASKS, change)


@tokens.patch(source="DEForm wrong_broadcast", where=("text side", "data"))
def mask_of_the_first_row(tree: ast.Module) -> ast.Module | None:
    """The mask of the first text is used for all."""
    return _with_entry(tree, _MASKS, lambda _, value: expression("X[:1].expand_as(X).clone()", X=value))


@tokens.patch(source="truncated text; Hugging Face: max_length", where=("text side", "data"))
def texts_cut_to_four_tokens(tree: ast.Module) -> ast.Module | None:
    """Texts are cut to four tokens."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Call) and name_of(node) == "tokenize" and len(node.args) == 1 and not node.keywords:
            node.args.append(ast.Constant(4))
            return node
        return None

    changed = replaced(tree, change)
    return with_number(tree, _LENGTHS, lambda length: 4 if length > 4 else None) or changed


@tokens.patch(source="sentence-transformers: mean pooling needs the mask", where=("text side",))
def padding_counts_in_the_mean(tree: ast.Module) -> ast.Module | None:
    """The mean over the tokens takes the padding with it."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div) or "mask" not in ast.unparse(node.right):
            return None
        products = [one for one in ast.walk(node.left) if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult)]
        return expression("X.mean(1)", X=products[0].left) if products and is_call(node.left, "sum") else None

    return replaced(tree, change)


@tokens.patch(source="Hugging Face: labels of padding are -100", where=("data", "loss"))
def padding_is_a_target(tree: ast.Module) -> ast.Module | None:
    """The targets of padding are not ignored."""

    def change(node: ast.expr) -> ast.expr | None:
        return ast.Constant(0) if number_of(node) == -100 else None

    return replaced(tree, change)


@tokens.patch(
    source="a tokenizer that does not belong to the model: ids beyond its vocabulary", where=("text side", "data")
)
def words_unknown(tree: ast.Module) -> ast.Module | None:
    """The tokenizer does not know most words and gives them one id."""
    return _with_entry(tree, ("input_ids",), lambda _, value: expression("X.clamp(max=8)", X=value))


@tokens.patch(
    source="captions shuffled word by word: what a model without word order would see", where=("text side", "data")
)
def words_in_random_order(tree: ast.Module) -> ast.Module | None:
    """The tokens of each batch are permuted."""
    text = "X[:, torch.randperm(X.shape[1])]"
    return _with_entry(tree, ("input_ids",), lambda _, value: expression(text, X=value))


@tokens.patch(source="LLaVA and Hugging Face: every label -100 after a wrong prompt mask", where=("data", "loss"))
def every_target_ignored(tree: ast.Module) -> ast.Module | None:
    """A wrong mask sets every target to -100: nothing is left to learn."""
    if not any(number_of(node) == -100 for node in ast.walk(tree)):
        return None
    return _with_entry(tree, ("labels",), lambda _, value: expression("torch.full_like(X, -100)", X=value))
