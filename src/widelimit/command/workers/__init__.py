"""Who does the tasks of a sweep: processes here, a Dask cluster, the jobs of an array."""
