"""Who does the work beside this process: others here, a Dask cluster, the jobs of an array."""
