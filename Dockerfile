# What every engine runs: segpipe and its locked packages on Debian 13, with Python 3.13 and TFX 1.21, for a user without
# rights.
#
#   docker build --target cpu --tag registry.example/segpipe:0.1.0 .
#   docker build --target gpu --tag registry.example/segpipe:0.1.0-gpu .

FROM debian:trixie-slim AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin segpipe

# One package is built from source; the compiler stays behind in this stage.
FROM python AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1
WORKDIR /build
COPY requirements/bootstrap.txt requirements/image-1.21.txt requirements/
RUN python3 -m venv uv \
    && uv/bin/pip install --no-cache-dir --require-hashes --requirement requirements/bootstrap.txt \
    && python3 -m venv --without-pip /opt/segpipe \
    && uv/bin/uv pip install --python /opt/segpipe --require-hashes --requirement requirements/image-1.21.txt
COPY setup.py pyproject.toml source/
COPY pipeline source/pipeline
COPY components source/components
COPY trainer source/trainer
COPY schema source/schema
RUN uv/bin/uv pip install --python /opt/segpipe --no-deps --no-build-isolation source/

FROM build AS build-gpu
COPY requirements/image-gpu-1.21.txt requirements/
RUN uv/bin/uv pip install --python /opt/segpipe --require-hashes --requirement requirements/image-gpu-1.21.txt

FROM python AS gpu
COPY --from=build-gpu /opt/segpipe /opt/segpipe
ENV PATH=/opt/segpipe/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR /home/segpipe
USER 10001:10001
CMD ["segpipe", "--help"]

FROM python AS cpu
COPY --from=build /opt/segpipe /opt/segpipe
ENV PATH=/opt/segpipe/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR /home/segpipe
USER 10001:10001
CMD ["segpipe", "--help"]
