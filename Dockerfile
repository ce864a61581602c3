# syntax=docker/dockerfile:1
# Two stages: the first has the compiler and makes wheels, the second has neither compiler nor caches.
#
#   docker build -t trilemma .
#   docker run --rm -p 127.0.0.1:8501:8501 -v trilemma:/data trilemma
#
# Inside, the dashboard listens on all addresses, or nothing could reach it; -p 127.0.0.1:... keeps it to your machine.
# With a log-in in the volume (secrets.toml, see docs/users.md) --allow-anyone has no effect.

FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python -m venv /opt/trilemma
ENV PATH=/opt/trilemma/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1

# llama.cpp first: it takes minutes and changes seldom. GGML_NATIVE=OFF makes an image that runs on any x86-64 or arm64
# machine of the last ten years; build with --build-arg CMAKE_ARGS= for the fastest code on this very machine.
ARG CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON"
COPY constraints.txt packaging/llama-only.cmake packaging/data.txt ./packaging/
RUN --mount=type=cache,target=/root/.cache/pip \
    CMAKE_ARGS="$CMAKE_ARGS -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama_cpp_INCLUDE=/src/packaging/llama-only.cmake" \
    CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" \
    pip install -c packaging/constraints.txt llama-cpp-python
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps -r packaging/data.txt

COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY trilemma ./trilemma
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -c constraints.txt -e '.[demo]'

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 trilemma \
    && mkdir /data && chown trilemma /data
COPY --from=build /opt/trilemma /opt/trilemma
WORKDIR /src
COPY pyproject.toml README.md LICENSE app.py ./
COPY .streamlit ./.streamlit
COPY static ./static
COPY pages ./pages
COPY trilemma ./trilemma
ENV PATH=/opt/trilemma/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TRILEMMA_HOME=/data
USER trilemma
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["trilemma"]
CMD ["serve", "--host", "0.0.0.0", "--allow-anyone", "--no-browser"]
