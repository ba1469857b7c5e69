"""Engines that several layers share, see `organza.time_sharing`: frames, descriptors, a walk through them, the engine."""
