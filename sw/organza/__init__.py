"""Organza: compresses a PyTorch GAN generator and generates the FPGA accelerator that runs it."""
