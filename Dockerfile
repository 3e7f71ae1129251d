# Dativo as a command: docker run --rm -v "$PWD:/app" dativo run --job-dir jobs
FROM python:3.11-slim AS build

WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
COPY singer-arrow singer-arrow
COPY target-iceberg target-iceberg
COPY taps taps
# In an environment of its own, which the next stage takes as it is: sources, pip's cache and build tools stay behind.
RUN python -m venv /opt/dativo
RUN /opt/dativo/bin/pip install --no-cache-dir --constraint constraints.txt ./singer-arrow ./target-iceberg ./taps/tap-kit ./taps/tap-csv ./taps/tap-postgres ./taps/tap-mysql .

FROM python:3.11-slim

RUN useradd --uid 1000 --create-home dativo && mkdir /app && chown dativo /app
COPY --from=build /opt/dativo /opt/dativo
ENV PATH="/opt/dativo/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1
USER dativo
WORKDIR /app
ENTRYPOINT ["dativo"]
CMD ["--help"]
