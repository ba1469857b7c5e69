"""What an accelerator takes of a device, without synthesis: multipliers and block RAMs by the rules of the flow, LUTs by a fitted model."""
