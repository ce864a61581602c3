"""Graphics cards: one meter over one driver interface, which NVML, AMD SMI and a replay double stand behind."""
