"""Where kernels run: MLX's custom kernels on Metal and CUDA, and a stand-in that only counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import mlx.core as mx

from mlx_gemma4.kernels.kernel import Kernel, source_text

Constants = Mapping[str, int | mx.Dtype]
"""Compile-time constants and types by name."""
Output = tuple[tuple[int, ...], mx.Dtype]


class Backend(Protocol):
    """Runs one kernel, lazily where it can."""

    name: str

    def launch(
        self,
        kernel: Kernel,
        inputs: Sequence[mx.array],
        constants: Constants,
        groups: tuple[int, int],
        threads: int,
        outputs: Sequence[Output],
    ) -> list[mx.array]:
        """Launch ``groups`` threadgroups of ``threads`` threads (a multiple of 32).

        Args:
            kernel: what to run.
            inputs: in the order of ``kernel.inputs``.
            constants: what the body knows at compile time; another value is another compilation.
            groups: threadgroups along x and y.
            threads: per threadgroup.
            outputs: shape and type of each output.
        """
        ...


class _MlxBackend:
    """MLX compiles the text at the first launch and keeps it; so does this keep its handles."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._make: Any = getattr(mx.fast, f"{name}_kernel")
        self._made: dict[Kernel, Any] = {}

    def launch(
        self,
        kernel: Kernel,
        inputs: Sequence[mx.array],
        constants: Constants,
        groups: tuple[int, int],
        threads: int,
        outputs: Sequence[Output],
    ) -> list[mx.array]:
        """See :class:`Backend`."""
        if kernel not in self._made:
            self._made[kernel] = self._make(
                name=kernel.label,
                input_names=list(kernel.inputs),
                output_names=list(kernel.outputs),
                header=source_text(self.name) + kernel.functions(),
                source=source_text(f"{self.name}_entry") + kernel.body(),
                ensure_row_contiguous=kernel.contiguous,
            )
        return self._made[kernel](
            inputs=list(inputs),
            template=list(constants.items()),
            grid=(groups[0] * threads, groups[1], 1),
            threadgroup=(threads, 1, 1),
            output_shapes=[shape for shape, _ in outputs],
            output_dtypes=[dtype for _, dtype in outputs],
        )


class MetalBackend(_MlxBackend):
    """Apple's GPUs."""

    def __init__(self) -> None:
        super().__init__("metal")


class CudaBackend(_MlxBackend):
    """Nvidia's GPUs."""

    def __init__(self) -> None:
        super().__init__("cuda")


class CountingBackend:
    """Makes one ``Erf`` node per launch, then views, so that a graph can be counted anywhere."""

    name = "counting"

    def launch(
        self,
        kernel: Kernel,
        inputs: Sequence[mx.array],
        constants: Constants,
        groups: tuple[int, int],
        threads: int,
        outputs: Sequence[Output],
    ) -> list[mx.array]:
        """See :class:`Backend`; the numbers mean nothing."""
        del kernel, constants, groups, threads
        seed = mx.depends([mx.array([0.0])], list(inputs))[0]
        node = mx.erf(seed)
        return [mx.broadcast_to(node.view(dtype)[:1], shape) for shape, dtype in outputs]


def own_backend() -> Backend | None:
    """The backend of MLX's default device; ``None`` on the CPU."""
    if mx.default_device().type != mx.DeviceType.gpu:
        return None
    if mx.metal.is_available():
        return MetalBackend()
    cuda = getattr(mx, "cuda", None)
    return CudaBackend() if cuda is not None and cuda.is_available() else None
