"""Independent jobs: in this process, in local processes, or on a Dask cluster. Workers return, the parent writes."""

from prune_env.parallel.call import Send, WorkerLostError
from prune_env.parallel.engines import ENGINES, Engine, check_engine
from prune_env.parallel.interrupts import interrupts_blocked
from prune_env.parallel.mapping import map_unordered
from prune_env.parallel.threads import cores, one_thread, single_threaded

__all__ = [
    "ENGINES",
    "Engine",
    "Send",
    "WorkerLostError",
    "check_engine",
    "cores",
    "interrupts_blocked",
    "map_unordered",
    "one_thread",
    "single_threaded",
]
