"""Non-local blocks as FastReID's zoo has them: every position sees the mean of all (Wang et al. 2018)."""

from torch import Tensor, nn


class NonLocal(nn.Module):
    """x + BN(w · y + b) of a map x [B, C, H, W], where y_i = Σ_j θ_i φ_j g_j / N over its N positions.

    θ, φ and g are 1×1 convolutions to a single channel, for the published width is one. So θ_i φ_j is of rank
    one and y_i = θ_i · mean_j(φ_j g_j): exact in O(N) where the paper's form takes O(N²). The batch
    normalisation starts at 0: at first the block changes nothing. Tensors are called as FastReID's.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Conv2d(channels, 1, 1) for _ in range(3))
        self.W = nn.Sequential(nn.Conv2d(1, channels, 1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.W[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.W[1].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        seen = (self.phi(x) * self.g(x)).mean((2, 3), keepdim=True)
        added: Tensor = self.W(self.theta(x) * seen)
        return x + added


def blocks(channels: int, count: int) -> nn.ModuleList:
    """As many non-local blocks, for maps of so many channels."""
    return nn.ModuleList(NonLocal(channels) for _ in range(count))


def through(layer: nn.Sequential, added: nn.ModuleList, x: Tensor) -> Tensor:
    """The layer's output for x, where each of its last blocks is followed by one of the non-local blocks."""
    first = len(layer) - len(added)
    for index, block in enumerate(layer):
        x = block(x)
        if index >= first:
            x = added[index - first](x)
    return x
