"""Pictures on a screen: DVI out of an accelerator's output stream."""
