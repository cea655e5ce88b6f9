# The lab in a container: docker build -t pmsi-lab . && docker run -p 8501:8501 -v pmsi-runs:/home/pmsi/runs pmsi-lab
FROM python:3.12-slim

# What opencv, which pytorch-grad-cam brings along, links to.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home pmsi
WORKDIR /home/pmsi
COPY requirements.txt /tmp/lab/
# For a much smaller image without CUDA, point pip at CPU builds of torch: --build-arg PIP_OPTIONS="…".
ARG PIP_OPTIONS=""
RUN pip install --no-cache-dir ${PIP_OPTIONS} -r /tmp/lab/requirements.txt

COPY pyproject.toml setup.py README.md /tmp/lab/
COPY pmsi /tmp/lab/pmsi
COPY app /tmp/lab/app
COPY assets /tmp/lab/assets
RUN pip install --no-cache-dir --no-deps /tmp/lab

ENV PMSI_RUNS=/home/pmsi/runs PMSI_DATASETS=/home/pmsi/data PYTHONUNBUFFERED=1 STREAMLIT_SERVER_ADDRESS=0.0.0.0
RUN mkdir -p "$PMSI_RUNS" "$PMSI_DATASETS" && chown -R pmsi:pmsi /home/pmsi
USER pmsi
VOLUME /home/pmsi/runs /home/pmsi/data
EXPOSE 8501

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8501/_stcore/health', timeout=4)"]
CMD ["pmsi", "app", "--port", "8501"]
