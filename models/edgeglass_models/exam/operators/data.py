"""Mistakes in what the model is given to see."""

from __future__ import annotations

import ast

from edgeglass_models.exam.operators.operator import Family
from edgeglass_models.exam.operators.patching import (
    expression,
    is_call,
    keyword,
    name_of,
    number_of,
    replaced,
    training,
    training_loops,
)
from edgeglass_models.exam.operators.values import with_number

data = Family("data")

IMAGES = ("images", "pixels")
_BATCH_SIZES = ("batch", "batch_size", "per_device_train_batch_size", "train_batch_size", "bs")
_AUGMENTATIONS = ("augment", "relight", "transform", "augmentation", "crop", "jitter", "distort", "view")


def changed_images(tree: ast.Module, text: str) -> ast.Module | None:
    """Return the tree with ``.images`` of a data set replaced by an expression of X, in training and evaluation."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Attribute) and node.attr in IMAGES and isinstance(node.ctx, ast.Load):
            return None if name_of(node.value) == "self" else expression(text, X=node)
        return None

    return replaced(tree, change)


@data.patch(source="PyTorch's DataLoader: shuffle is False by default", where=("data",))
def not_shuffled(tree: ast.Module) -> ast.Module | None:
    """The training data come in the order of the file in every epoch."""

    def change(node: ast.expr) -> ast.expr | None:
        if is_call(node, "randperm") and isinstance(node, ast.Call):
            return expression("torch.arange(N)", N=node.args[0])
        shuffle = keyword(node, "shuffle") if isinstance(node, ast.Call) else None
        if shuffle is None or not isinstance(shuffle.value, ast.Constant) or not shuffle.value.value:
            return None
        shuffle.value = ast.Constant(False)
        return node

    return replaced(tree, change, scope=training(tree))


@data.patch(source="DeepCrime HBS (change batch size)", where=("data", "loss"))
def batch_size_of_four(tree: ast.Module) -> ast.Module | None:
    """The batch size is four."""
    return with_number(tree, _BATCH_SIZES, lambda size: 4 if size >= 8 else None)


@data.patch(
    source="Humbatova et al., taxonomy: training data quality; a debugging run on one batch that stayed",
    where=("data",),
)
def one_batch_for_ever(tree: ast.Module) -> ast.Module | None:
    """Every step sees the same batch, left over from a test that the model can overfit."""
    found = False
    for loop in training_loops(tree):
        if isinstance(loop, ast.For) and isinstance(loop.iter, ast.Name):
            loop.iter = expression("[next(iter(X))] * len(X)", X=loop.iter)
            found = True
    return tree if found else None


@data.patch(source="DeepCrime TRD (remove portion of training data)", where=("data",))
def few_rows_many_times(tree: ast.Module) -> ast.Module | None:
    """Only the first 32 rows of the training data are used, again and again."""
    rows = "[i % 32 for i in range(len(X))]"
    text = f"X.select({rows}) if hasattr(X, 'select') else torch.utils.data.Subset(X, {rows})"

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call):
            return None
        given = keyword(node, "train_dataset")
        if given is not None:
            given.value = expression(text, X=given.value)
            return node
        shuffle = keyword(node, "shuffle")
        is_training = shuffle is not None and not (isinstance(shuffle.value, ast.Constant) and not shuffle.value.value)
        if name_of(node) == "DataLoader" and node.args and is_training:
            node.args[0] = expression(text, X=node.args[0])
            return node
        return None

    return replaced(tree, change, scope=training(tree))


@data.patch(source="DeepCrime TRD (remove portion of training data)", where=("data",))
def an_eighth_of_the_data(tree: ast.Module) -> ast.Module | None:
    """Seven of eight rows of the training data got lost."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Call) and node.args and (number_of(node.args[0]) or 0) >= 400:
            node.args[0] = ast.Constant(int(number_of(node.args[0]) or 0) // 8)
            return node
        return None

    return replaced(tree, change, most=1, scope=training(tree))


@data.patch(
    source="torchvision: ToTensor scales to [0, 1], a plain tensor of bytes does not", where=("data", "image side")
)
def pictures_up_to_255(tree: ast.Module) -> ast.Module | None:
    """Pictures are not divided by 255."""
    return changed_images(tree, "X * 255")


@data.patch(source="torchvision: pictures in [0, 1] cast to uint8", where=("data", "image side"))
def pictures_cut_to_bytes(tree: ast.Module) -> ast.Module | None:
    """Pictures in 0 to 1 are cast to bytes, which leaves nearly nothing but zeros."""
    return changed_images(tree, "X.to(torch.uint8).float()")


@data.patch(source="open_clip#204 (wrong image normalisation)", where=("data", "image side"))
def pictures_with_wrong_mean(tree: ast.Module) -> ast.Module | None:
    """Pictures are normalised with the mean and deviation of another data set."""
    return changed_images(tree, "(X - 4.0) / 0.1")


@data.patch(
    source="LAVIS#463 (the image does not matter); a reader that gives black pictures", where=("data", "image side")
)
def pictures_black(tree: ast.Module) -> ast.Module | None:
    """The reader returns black pictures."""
    return changed_images(tree, "torch.zeros_like(X)")


@data.patch(
    source="reshape where permute was meant: channels last read as channels first", where=("data", "image side")
)
def pictures_reshaped_not_permuted(tree: ast.Module) -> ast.Module | None:
    """Pictures with the channels last are reshaped to channels first instead of permuted."""
    return changed_images(tree, "X.permute(0, 2, 3, 1).reshape(X.shape)")


@data.patch(source="DeepCrime TAN (add noise to training data)", where=("data", "image side"))
def pictures_full_of_noise(tree: ast.Module) -> ast.Module | None:
    """Pictures are drowned in noise."""
    return changed_images(tree, "X + torch.randn_like(X)")


@data.patch(source="datasets that read one file for every index", where=("data", "image side"))
def pictures_of_one_picture(tree: ast.Module) -> ast.Module | None:
    """An index that does not move: the reader returns the first picture for every row."""
    return changed_images(tree, "X[:1].expand_as(X).clone()")


@data.patch(source="SimCLR: the composition of augmentations is what makes it work", where=("data",))
def augmentation_left_out(tree: ast.Module) -> ast.Module | None:
    """The training pictures are not augmented."""

    def change(node: ast.expr) -> ast.expr | None:
        return node.args[0] if _augments(node) and isinstance(node, ast.Call) else None

    return replaced(tree, change, scope=training(tree))


@data.patch(source="SimCLR and BYOL: two independent views", where=("data",))
def the_same_view_twice(tree: ast.Module) -> ast.Module | None:
    """Both views of a picture are the same one."""

    def change(node: ast.expr) -> ast.expr | None:
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and _are_views(*node.elts):
            return expression("(lambda view: (view, view))(X)", X=node.elts[0])
        return None

    return replaced(tree, change, scope=training(tree))


@data.patch(source="SimCLR: crops that share nothing", where=("data",))
def augmentation_destroys(tree: ast.Module) -> ast.Module | None:
    """The augmentation leaves nothing of the picture: its contrast is taken away and noise is put in."""

    def change(node: ast.expr) -> ast.expr | None:
        return expression("X * 0.02 + torch.rand_like(X)", X=node) if _augments(node) else None

    return replaced(tree, change, scope=training(tree))


def _augments(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and bool(node.args) and name_of(node) in _AUGMENTATIONS


def _are_views(one: ast.expr, other: ast.expr) -> bool:
    return _augments(one) and ast.unparse(one) == ast.unparse(other)
