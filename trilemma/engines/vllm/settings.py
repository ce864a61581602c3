"""What can be set on the vLLM engine. The New study page is drawn from this type's JSON schema."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trilemma.limits import usable_cpus

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
OnlineQuantization = Literal[
    "none", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "int8_per_channel_weight_only", "mxfp8", "mxfp4"
]
CacheType = Literal["auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"]


class VllmSettings(BaseModel):
    """Settings of one vLLM configuration.

    Two defaults are not vLLM's own: the prefix cache is off, since a repeated prompt would be measured as a quick one,
    and the KV cache is as large as the slots can fill, since vLLM would take nearly all memory that there is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    context: int | None = Field(
        default=2048,
        ge=8,
        title="Context",
        description="Tokens that prompt and answer may take together; empty for the longest that the model knows.",
        json_schema_extra={"unit": "tokens"},
    )
    slots: int = Field(
        default=8,
        ge=1,
        le=1024,
        title="Slots",
        description="Requests answered at once (max_num_seqs); more have to wait.",
        json_schema_extra={"unit": "requests", "speed_only": True},
    )
    dtype: Dtype = Field(
        default="auto",
        title="Data type",
        description="What weights and activations are computed in; auto takes the artifact's own.",
        json_schema_extra={"unit": ""},
    )
    quantization: OnlineQuantization = Field(
        default="none",
        title="Online quantization",
        description="Quantise the weights while loading. What the artifact itself carries (AWQ, GPTQ, FP8, "
        "compressed-tensors) is used without being named here.",
        json_schema_extra={"unit": ""},
    )
    kv_cache_type: CacheType = Field(
        default="auto",
        title="KV-cache type",
        description="How keys and values are stored; auto takes the data type, fp8 halves the cache at some loss.",
        json_schema_extra={"unit": ""},
    )
    kv_cache_bytes: int | None = Field(
        default=None,
        ge=1 << 20,
        title="KV-cache size",
        description="Memory set aside for keys and values; empty for what all slots with a full context take.",
        json_schema_extra={"unit": "B", "speed_only": True},
    )
    batch: int | None = Field(
        default=None,
        ge=1,
        title="Batch",
        description="Tokens computed at once, of prompts and answers together; empty for vLLM's own choice.",
        json_schema_extra={"unit": "tokens"},
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        title="Threads",
        description="CPU threads that compute, where vLLM runs on a CPU; empty for every CPU that the process may use.",
        json_schema_extra={"unit": "threads", "speed_only": True},
    )
    tensor_parallel: int = Field(
        default=1,
        ge=1,
        le=64,
        title="Tensor parallel size",
        description="GPUs that share each layer.",
        json_schema_extra={"unit": "GPUs"},
    )
    pipeline_parallel: int = Field(
        default=1,
        ge=1,
        le=64,
        title="Pipeline parallel size",
        description="GPUs, or groups of them, that share the layers one after the other.",
        json_schema_extra={"unit": "GPUs"},
    )
    prefix_caching: bool = Field(
        default=False,
        title="Prefix caching",
        description="Keep what was computed for prompts that begin alike. Speeds measured so are those of cache hits.",
        json_schema_extra={"unit": ""},
    )
    eager: bool = Field(
        default=False,
        title="Eager mode",
        description="Run without compiling the model: loads sooner, answers more slowly.",
        json_schema_extra={"unit": ""},
    )
    speculative_tokens: int = Field(
        default=0,
        ge=0,
        le=32,
        title="Speculative tokens",
        description="Tokens guessed ahead from what the prompt and the answer repeat (n-gram); 0 for none.",
        json_schema_extra={"unit": "tokens"},
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.context is not None and self.batch is not None and self.batch < self.slots:
            raise ValueError(f"batch ({self.batch}) must hold a token of each of the {self.slots} slots")
        return self

    def cpu_lists(self) -> str:
        """The CPUs of each worker, ``0,1|2,3``. Left to itself vLLM takes one a physical core, and leaves one free: not
        the machine that others measure.
        """
        cpus = sorted(usable_cpus())[: self.threads]
        share = max(1, len(cpus) // self.workers)
        return "|".join(",".join(map(str, cpus[i * share : (i + 1) * share])) for i in range(self.workers))

    @property
    def workers(self) -> int:
        """Processes that share the model."""
        return self.tensor_parallel * self.pipeline_parallel
