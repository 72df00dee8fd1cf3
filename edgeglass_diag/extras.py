"""The extras of this distribution, and the one error where something needs one that is not installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from edgeglass_diag.errors import UsageError

EXTRAS: Mapping[str, Mapping[str, str]] = {
    "accelerate": {"accelerate": "accelerate"},
    "dashboard": {
        "dash": "dash",
        "dash_mantine_components": "dash-mantine-components",
        "plotly": "plotly",
        "waitress": "waitress",
    },
    "embedding-atlas": {"pyarrow": "pyarrow"},
    "evaluate": {
        "captum": "captum",
        "PIL": "pillow",
        "plotly": "plotly",
        "pyarrow": "pyarrow",
        "sklearn": "scikit-learn",
        "umap": "umap-learn",
    },
    "figures": {"choreographer": "kaleido", "kaleido": "kaleido", "plotly": "plotly"},
    "ignite": {"ignite": "pytorch-ignite"},
    "lightning": {"lightning": "lightning"},
    "mcp": {"anyio": "anyio", "mcp": "mcp"},
    "mlflow": {"mlflow": "mlflow-skinny", "sqlalchemy": "sqlalchemy", "alembic": "alembic"},
    "models": {
        "lightning_fabric": "lightning-fabric",
        "open_clip": "open_clip_torch",
        "PIL": "pillow",
        "pyarrow": "pyarrow",
    },
    "notebook": {"ipykernel": "ipykernel", "nbclient": "nbclient"},
    "parquet": {"pyarrow": "pyarrow"},
    "report": {
        "jinja2": "jinja2",
        "nbformat": "nbformat",
        "plotly": "plotly",
        "sklearn": "scikit-learn",
        "umap": "umap-learn",
    },
    "test": {"hypothesis": "hypothesis", "pytest": "pytest"},
    "tensorboard": {"tensorboard": "tensorboard"},
    "trackio": {"trackio": "trackio"},
    "transformers": {"transformers": "transformers"},
    "wandb": {"wandb": "wandb"},
}
"""What each extra brings, as far as it is imported here: distributions by the modules that they install."""


class MissingExtraError(UsageError, ImportError):
    """Something needs an extra that is not installed; the message has the command that installs it."""


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Import packages of an extra inside of this block.

    Args:
        name: of the extra.
        what: what needs it, the subject of the message.

    Raises:
        MissingExtraError: where a package of the extra, or a module of it, is not there; all else passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS[name]:
            raise
        raise _missing(name, what, [EXTRAS[name][module]], there=_is_there(module)) from None


def check_extra(name: str, what: str) -> None:
    """Look for the packages of an extra; nothing is imported.

    Args:
        name: of the extra.
        what: what needs it, the subject of the message.

    Raises:
        MissingExtraError: where one is not installed.
    """
    missing = [distribution for module, distribution in EXTRAS[name].items() if not _is_there(module)]
    if missing:
        raise _missing(name, what, list(dict.fromkeys(missing)))


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _missing(name: str, what: str, distributions: Sequence[str], *, there: bool = False) -> MissingExtraError:
    needed = " and ".join(distributions)
    lack = "are not installed" if len(distributions) > 1 else "is not installed"
    if there:
        lack = f"is installed as {_version(distributions[0])}, another version"
    return MissingExtraError(f"{what} needs {needed}, which {lack}: pip install 'edgeglass-diag[{name}]'")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "something else"
