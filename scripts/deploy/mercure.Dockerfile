# SPDX-License-Identifier: Apache-2.0
# Module for mercure: docker build -f scripts/deploy/mercure.Dockerfile -t lungcad-mercure scripts/deploy
ARG BASE=lungcad
FROM ${BASE}
ENTRYPOINT []
CMD ["python", "/opt/lungcad/mercure.py"]
