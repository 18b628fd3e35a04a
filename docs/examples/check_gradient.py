"""PyTorch's gradient of one batch against comhe's, by files and the command line alone.

python docs/examples/check_gradient.py [path of comhe]
"""

import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

comhe = sys.argv[1] if len(sys.argv) > 1 else "comhe"
folder = tempfile.mkdtemp()
torch.manual_seed(0)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(7 * 7 * 64, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


net = LeNet().double()
x, y = torch.randn(8, 1, 28, 28).double(), torch.randint(10, (8,))
loss = F.cross_entropy(net(x), y)
loss.backward()

# The five lines.
save_file(net.state_dict(), f"{folder}/w.safetensors")
np.savez(f"{folder}/batch.npz", x=x.numpy(), y=y.numpy())
command = f"grad --model lenet --dtype f64 --init {folder}/w.safetensors --batch {folder}/batch.npz --out {folder}/g.npz"
subprocess.run([comhe, *command.split()], check=True)
grads = np.load(f"{folder}/g.npz")

worst = max(np.abs(grads[name] - p.grad.numpy()).max() / p.grad.abs().max().item() for name, p in net.named_parameters())
print(f"loss {grads['loss'].item():.15f}, PyTorch's {loss.item():.15f}; worst relative difference of a gradient {worst:.1e}")
sys.exit(0 if worst < 1e-9 and abs(grads["loss"].item() - loss.item()) < 1e-9 else 1)
