"""Installs pipeline, components, trainer and schema; Beam workers get them through --setup_file."""

from setuptools import find_packages, setup

setup(
    name="segpipe",
    version="0.1.0",
    description="A production TFX pipeline for image segmentation",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["pipeline*", "components*", "trainer*", "schema*"]),
    package_data={
        "components.run_report": ["templates/*"],
        "components.serving": ["page/*"],
        "schema": ["schema.pbtxt"],
    },
    install_requires=[
        "anyio>=4",
        "click>=8",
        "croniter>=2",
        "filelock>=4.1",
        "google-cloud-aiplatform>=1.70",
        "google-crc32c>=1.5",
        "httptools>=0.6",
        "jinja2>=3",
        "joblib>=1.3",
        "kfp>=2.5",
        "kfp-kubernetes>=1",
        "matplotlib>=3.5",
        "onnxruntime>=1.17",
        "orjson>=3.9",
        "pillow>=10",
        "prometheus-client>=0.20",
        "psutil>=5",
        "pydantic>=2",
        "pyyaml>=6",
        "requests>=2",
        "rich>=13",
        # Beam builds the package for its workers with it, and older packages import pkg_resources.
        "setuptools<81",
        "simplejpeg>=1.8",
        # Its router tells the route, which the figures of `segpipe serve` are told by.
        "starlette>=1.7",
        "tensorboard>=2.16",
        "tf2onnx>=1.16",
        "tfx>=1.16",
        "uvicorn>=0.29",
        "uvloop>=0.19",
    ],
    extras_require={"gpu": ["tensorflow[and-cuda]"], "s3": ["boto3>=1.36"]},
    entry_points={"console_scripts": ["segpipe=pipeline.cli:main"]},
)
