"""From one machine to the fleet: replicas, energy, cost and CO2e for a demand, out of what was measured.

Pure functions over measured figures; the only files that are read are the tables of prices (:mod:`.tables`). The
formulas, their sources and what they assume are in docs/planning.md.
"""
