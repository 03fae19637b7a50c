#!/usr/bin/env bash
# The run that docs/example.md shows: a real client on the local Docker engine, made, changed, broken, repaired, removed.
#   bench/readme_run.sh [PROGRAM]
program=${1:-client-manager}
export CLIENT_MANAGER_DATA_ROOT CLIENT_MANAGER_STATE_DIR
CLIENT_MANAGER_DATA_ROOT=$(mktemp -d) CLIENT_MANAGER_STATE_DIR=$(mktemp -d)
trap 'rm -rf "$CLIENT_MANAGER_DATA_ROOT" "$CLIENT_MANAGER_STATE_DIR"' EXIT

step() {
  echo "\$ ${*/#$program/client-manager}"
  "$@" 2>&1 | sed "s|$CLIENT_MANAGER_DATA_ROOT|/opt/openwebui|g; s/ *\$//"
  code=${PIPESTATUS[0]}
  if [ "$code" -ne 0 ]; then echo "(exit code $code)"; fi
  echo
}

step "$program" client create acme --domain chat.acme.example --yes
step "$program" client set acme --memory 1g --env WEBUI_NAME=Acme --yes
step "$program" client set-domain acme ai.acme.example --dry-run
step docker rm -f openwebui-acme
step "$program" client list
step "$program" client repair acme --yes
step "$program" client remove acme --yes
step "$program" client remove acme --confirm acme
