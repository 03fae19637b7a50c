# The sync node. Works with the classic builder; few instructions, since each costs seconds on some storage drivers.
ARG BASE=python:3.11-slim
FROM ${BASE}
LABEL org.opencontainers.image.title="client-manager sync node" \
      org.opencontainers.image.description="Replicates the SQLite databases of Open WebUI clients to PostgreSQL"
# No home to rely on: any uid may run it, and only /tmp can be written to.
ENV HOME=/tmp PYTHONUNBUFFERED=1 CLIENT_MANAGER_PORT_FILE=/tmp/client-manager.port
COPY . /usr/src/client-manager
RUN cd /usr/src/client-manager \
 && python -m pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt '.[node]' \
 && rm -rf /usr/src/client-manager
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
  CMD ["python", "-c", "import http.client as h, pathlib; c = h.HTTPConnection('127.0.0.1', int(pathlib.Path('/tmp/client-manager.port').read_text()), timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["client-manager"]
