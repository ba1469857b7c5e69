import numpy as np
import torch
from my_model import make_generator
from safetensors.torch import save_file

torch.manual_seed(0)
generator = make_generator()  # load or train your own weights here
save_file(generator.state_dict(), "w.safetensors")
np.save("z.npy", torch.randn(256, 16, 1, 1).numpy())
