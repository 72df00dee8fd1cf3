"""The processes that train together, started or found by Lightning Fabric, and how they share a model."""

from __future__ import annotations

import logging

from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from edgeglass_models.align import AlignmentModel
from edgeglass_models.perceiver import ResamplerLayer
from edgeglass_models.recipes.settings import TrainSettings


def launch(settings: TrainSettings) -> Fabric:
    """Return Fabric with its processes: those of torchrun or SLURM where it finds them, else started anew.

    Started ones run the command line of this process again, with their rank in ``LOCAL_RANK``. A second call in the
    same process finds those of the first.

    Raises:
        ValueError: if the machine lacks the devices, or was given another number of processes.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        fabric = Fabric(
            accelerator="auto",
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=_strategy(settings),
            precision=settings.precision,
        )
        if settings.processes > 1:
            fabric.launch()
    except Exception as error:  # Fabric raises several types, among them its own and plain RuntimeError
        text = " ".join(str(error).split())
        raise ValueError(f"train.devices={settings.devices}, train.num_nodes={settings.num_nodes}: {text}") from error
    return fabric


def _strategy(settings: TrainSettings) -> Strategy | str:
    if settings.strategy == "fsdp":
        return ModelParallelStrategy(_sharded, data_parallel_size=settings.processes, tensor_parallel_size=1)
    return DDPStrategy() if settings.processes > 1 else "auto"


def _sharded(model: AlignmentModel, mesh: DeviceMesh) -> AlignmentModel:
    """Shard each layer of a resampler, then the heads, then what is left, over the processes (FSDP2)."""
    over = mesh["data_parallel"]
    if isinstance(model.log_scale, nn.Parameter):  # parameters without dimensions cannot be sharded
        model.log_scale = nn.Parameter(model.log_scale.detach().reshape(1))
    layers = [module for module in model.image_head.modules() if isinstance(module, ResamplerLayer)]
    for module in (*layers, model.image_head, model.text_head, model):
        fully_shard(module, mesh=over)
    return model
