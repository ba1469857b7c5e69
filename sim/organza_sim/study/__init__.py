"""Every system of the survey on real data: what each recipe makes of one generator, down to the chip, and what follows from it.

    python -m organza_sim.study              trains and measures all rows, goes on where it was stopped
    python -m organza_sim.study --claims     says which of the survey's claims the rows bear out
"""
