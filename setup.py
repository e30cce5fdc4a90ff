"""Package discovery: every folder with modules is a package, under the names of [tool.setuptools.package-dir]."""

from setuptools import find_namespace_packages, setup

ROOTS = {"codi2_storage": "storage", "codi2_datasets": "datasets", "codi2_model": "codi2_model", "codi2_flows": "flows"}
DATA = ("page*", "*.page*", "shipped*", "cluster*")  # folders without modules, which are package data or stay out

setup(
    packages=[
        name
        for package, folder in ROOTS.items()
        for name in (
            package,
            *(f"{package}.{found}" for found in sorted(find_namespace_packages(folder, exclude=DATA))),
        )
    ]
)
