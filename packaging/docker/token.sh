#!/bin/sh

# A token for compose.yaml: the agent's side in token.env, nginx's in
# zltunnel.tokens.  It needs openssl alone.

set -eu

cd "$(dirname "$0")"

token=zlt_$(openssl rand -hex 32)
hash=$(printf %s "$token" | openssl dgst -sha256 -r | cut -d ' ' -f 1)

umask 077
echo "ZLTUNNEL_TOKEN=$token" > token.env
umask 022
echo "$hash compose" > zltunnel.tokens
