"""What can be set on the llama.cpp engine. The New study page is drawn from this type's JSON schema."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trilemma.limits import cpu_count

CacheType = Literal["f16", "q8_0", "q4_0"]
FlashAttention = Literal["auto", "on", "off"]


class LlamaCppSettings(BaseModel):
    """Settings of one llama.cpp configuration. The defaults are llama.cpp's own, but for the context."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        title="Threads",
        description="CPU threads that generate tokens; empty for every CPU that the process may use.",
        json_schema_extra={"unit": "threads", "speed_only": True},
    )
    prefill_threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        title="Prefill threads",
        description="CPU threads that read the prompt; empty for as many as generate.",
        json_schema_extra={"unit": "threads", "speed_only": True},
    )
    context: int | None = Field(
        default=2048,
        ge=8,
        title="Context",
        description="Tokens that prompt and answer may take together; empty for the longest that the model knows.",
        json_schema_extra={"unit": "tokens"},
    )
    slots: int = Field(
        default=1,
        ge=1,
        le=256,
        title="Slots",
        description="Requests answered at once; each slot has a context and a share of the KV cache of its own.",
        json_schema_extra={"unit": "requests", "speed_only": True},
    )
    batch: int = Field(
        default=2048,
        ge=1,
        le=1 << 20,
        title="Batch",
        description="Prompt tokens handed to the engine at once.",
        json_schema_extra={"unit": "tokens"},
    )
    micro_batch: int = Field(
        default=512,
        ge=1,
        le=1 << 20,
        title="Micro-batch",
        description="Prompt tokens computed at once; more take more memory for intermediate results.",
        json_schema_extra={"unit": "tokens"},
    )
    flash_attention: FlashAttention = Field(
        default="auto",
        title="Flash attention",
        description="Attention computed in one pass that keeps no score matrix; auto lets llama.cpp decide.",
        json_schema_extra={"unit": ""},
    )
    kv_cache_type: CacheType = Field(
        default="f16",
        title="KV-cache type",
        description="How keys and values are stored; q8_0 halves the cache and q4_0 quarters it, at some loss.",
        json_schema_extra={"unit": ""},
    )
    mmap: bool = Field(
        default=True,
        title="Memory-map the file",
        description="Read the weights through the system's file cache, instead of into memory of the process's own.",
        json_schema_extra={"unit": "", "speed_only": True},
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.micro_batch > self.batch:
            raise ValueError(f"micro_batch ({self.micro_batch}) cannot be larger than batch ({self.batch})")
        if self.kv_cache_type != "f16" and self.flash_attention == "off":
            raise ValueError(f"kv_cache_type {self.kv_cache_type} needs flash_attention auto or on")
        return self

    @property
    def decode_threads(self) -> int:
        """Threads that generate, resolved for this process."""
        return self.threads or cpu_count()

    @property
    def batch_threads(self) -> int:
        """Threads that read the prompt, resolved for this process."""
        return self.prefill_threads or self.decode_threads
