"""Training speed: our loop beside the bare limit and beside what others use.

    python benchmarks/speed.py [--models mlp conv rgb] [--rounds 3]

Every contender trains the same networks on the same images, one epoch, batch 128, Adam 1e-3, on one
thread. All run in this process, in turns, and are compared by CPU time, the least of the rounds:
other programs on the machine can only add to it. Peers that are not installed are left out; they
are `pip install pythae lightning`, and nothing else in the course needs them.

limit          the same batch over and over, fused Adam: no data, no history, no checks
ours           coursekit.training.fit
ours bf16      the same with precision="bf16", where the processor has avx512_bf16
script         the script of pytorch/examples: torchvision's images one by one, DataLoader, Adam
pythae         its VAE and BaseTrainer, images as a float tensor
lightning      LightningModule and Trainer, same loader as the script; no logger, no checkpoints
"""

import argparse
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import record
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from coursekit import data
from coursekit.data import ImageSet
from coursekit.models import MLPVAE, VAE, ConvVAE, SmallConvVAE
from coursekit.objectives import negative_elbo, reparameterize
from coursekit.training import fit

BATCH, LR = 128, 1e-3
MODELS: dict[str, tuple[str, str, int, Callable[[], VAE]]] = {
    "mlp": ("MLP VAE 784-400-20", "digits", 20_000, lambda: MLPVAE()),
    "conv": ("conv VAE, 2 latents, 28x28", "digits", 3_840, lambda: SmallConvVAE()),
    "rgb": (
        "conv VAE (32, 64, 128, 256), 64x64x3",
        "faces",
        1_280,
        lambda: ConvVAE((3, 64, 64), 100),
    ),
}


def vae_loss(model: VAE, batch: data.Batch, step: int):
    mu, logvar = model.encode(batch.images)
    return negative_elbo(batch.images, model.decode(reparameterize(mu, logvar)), mu, logvar)


def limit(model: VAE, images: ImageSet) -> None:
    batch = next(images.batches(BATCH))
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    for _ in range(len(images) // BATCH):
        loss = bare_loss(model, batch.images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def bare_loss(model: VAE, x: Tensor) -> Tensor:
    """The negative ELBO with nothing around it."""
    h = model.encoder(x)
    mu, logvar = model.to_mu(h), model.to_logvar(h)
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    bce = F.binary_cross_entropy_with_logits(model.decoder(z), x, reduction="sum")
    return (bce - 0.5 * torch.sum(1 + logvar - mu.square() - logvar.exp())) / len(x)


def ours(model: VAE, images: ImageSet) -> None:
    fit(model, images, vae_loss, epochs=1, batch_size=BATCH, lr=LR, device="cpu")


def ours_bf16(model: VAE, images: ImageSet) -> None:
    fit(model, images, vae_loss, epochs=1, batch_size=BATCH, lr=LR, device="cpu", precision="bf16")


class OneByOne(Dataset):
    """Images as torchvision's data sets give them: an array to a PIL image, then ToTensor."""

    def __init__(self, images: ImageSet) -> None:
        from torchvision.transforms import ToTensor

        self.arrays = images.images.permute(0, 2, 3, 1).squeeze(-1).numpy()
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.arrays[i])), 0


def script_loss(model: VAE, x: Tensor) -> Tensor:
    """As in pytorch/examples/vae: probabilities, and sums over the batch."""
    h = model.encoder(x)
    mu, logvar = model.to_mu(h), model.to_logvar(h)
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    bce = F.binary_cross_entropy(torch.sigmoid(model.decoder(z)), x, reduction="sum")
    return bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def script(model: VAE, images: ImageSet) -> None:
    loader = DataLoader(OneByOne(images), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    model.train()
    total = 0.0
    for x, _ in loader:
        optimizer.zero_grad()
        loss = script_loss(model, x)
        loss.backward()
        total += loss.item()
        optimizer.step()


def pythae(model: VAE, images: ImageSet) -> None:
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.mu, self.logvar = model.encoder, model.to_mu, model.to_logvar

        def forward(self, x: Tensor) -> ModelOutput:
            h = self.net(x)
            return ModelOutput(embedding=self.mu(h), log_covariance=self.logvar(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = model.decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.sigmoid(self.net(z)))

    config = VAEConfig(
        input_dim=model.image_shape, latent_dim=model.latent_dim, reconstruction_loss="bce"
    )
    theirs = PythaeVAE(config, encoder=Encoder(), decoder=Decoder())
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=1,
            learning_rate=LR,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=BATCH,
            optimizer_cls="Adam",
            no_cuda=True,
        )
        TrainingPipeline(model=theirs, training_config=settings)(
            train_data=images.images.float() / 255
        )


def lightning(model: VAE, images: ImageSet) -> None:
    import lightning as L

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            return script_loss(self.model, batch[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=LR)

    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), DataLoader(OneByOne(images), batch_size=BATCH, shuffle=True))


CONTENDERS: dict[str, Callable[[VAE, ImageSet], None]] = {
    "limit": limit,
    "ours": ours,
    "ours bf16": ours_bf16,
    "script": script,
    "pythae": pythae,
    "lightning": lightning,
}


def measure(key: str, rounds: int) -> dict[str, object]:
    """CPU seconds of each contender, the least of the rounds, and as multiples of the limit."""
    title, name, count, build = MODELS[key]
    images = data.load(name, size=count)
    missing: dict[str, str] = {}
    seconds: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    if not torch.cpu._is_avx512_bf16_supported():
        missing["ours bf16"] = "this processor has no avx512_bf16"
    warm_up = images.subset(slice(2 * BATCH))
    for turn in range(rounds + 1):
        for contender, train in CONTENDERS.items():
            if contender in missing:
                continue
            torch.manual_seed(0)
            model: nn.Module = build()
            start = time.process_time()
            try:
                train(model, images if turn else warm_up)  # turn 0 imports and warms up
            except ImportError as error:
                missing[contender] = f"not installed: {error.name}"
                continue
            if turn:
                seconds[contender].append(time.process_time() - start)
    best = {contender: min(times) for contender, times in seconds.items() if times}
    return {
        "model": title,
        "images": count - count % BATCH,
        "cpu_seconds": seconds,
        "cpu_seconds_per_20000_images": {k: v * 20_000 / count for k, v in best.items()},
        "times_the_limit": {k: v / best["limit"] for k, v in best.items()},
        "missing": missing,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[record.OPTIONS])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    commit = record.source(args.draft)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for noisy in ("pythae", "lightning", "lightning.pytorch"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    figures = {}
    for key in args.models:
        figures[key] = measure(key, args.rounds)
        record.save(f"speed-{key}", 0, figures[key], commit)
    rows = [("CPU seconds for 20,000 images (times the limit)", *CONTENDERS)]
    for entry in figures.values():
        per, times = entry["cpu_seconds_per_20000_images"], entry["times_the_limit"]
        cells = (f"{per[c]:.2f} ({times[c]:.2f})" if c in per else "-" for c in CONTENDERS)
        rows.append((entry["model"], *cells))
    print(record.table(rows))
    for entry in figures.values():
        for contender, why in entry["missing"].items():
            print(f"{entry['model']}, {contender}: {why}")


if __name__ == "__main__":
    main()
