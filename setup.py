"""The packages of the wheel: two folders of the checkout go into ``pmsi``, where pyproject.toml cannot put them."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["pmsi", "pmsi.*"]),
        "pmsi.assets",
        "pmsi.lab.app",
        *(f"pmsi.lab.app.{name}" for name in find_packages("app")),
    ],
    package_dir={"pmsi.assets": "assets", "pmsi.lab.app": "app"},
    package_data={
        "pmsi": ["py.typed"],
        "pmsi.robustness": ["templates/*"],
        "pmsi.assets": ["**"],
        "pmsi.lab.app": ["parts/*", ".streamlit/config.toml"],
        "": ["*.html", "*.css", "*.js"],
    },
)
