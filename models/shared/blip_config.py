"""Sizes of BLIP's network (`models.shared.blip`)."""

from dataclasses import dataclass

from models.shared.checks import require, require_one_of
from models.shared.med import NOT_SHARED
from models.shared.packaged import ImageTower, TextTower


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The network's sizes; the defaults are the paper's ViT-B/16 with BERT-base.

    Attributes:
        image_encoder: `vit`, from scratch, or `efficientnet-lite0`, the packaged network, frozen, with layers on top.
        image_px: Side of the images.
        patch_px: Side of the ViT's patches.
        feature_grid: The frozen network's 7 x 7 feature map is averaged to this many cells on a side.
        image_width: Width of the image's states.
        num_image_layers: Layers of the ViT, or over the frozen network's feature map.
        num_image_heads: Their attention heads.
        text_init: `none`, or `minilm`: the first `num_layers` layers of the packaged sentence encoder.
        text_width: Width of the text states.
        num_layers: Layers of the MED.
        num_heads: Their attention heads.
        pooling: What stands for a text in contrast and matching: its `first` state, or the `mean` of its states.
        sharing: What the decoder shares with the encoders, see `models.shared.med`.
        train_word_embeddings: Whether the word embeddings (and so the LM head's last matrix) are trained.
        embed_width: Size of the embeddings in which images and texts are compared.
        max_tokens: Length that captions are cut to, first and last token counted.
        dropout: In the MED.
    """

    image_encoder: str = "vit"
    image_px: int = 224
    patch_px: int = 16
    feature_grid: int = 7
    image_width: int = 768
    num_image_layers: int = 12
    num_image_heads: int = 12
    text_init: str = "none"
    text_width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    pooling: str = "first"
    sharing: str = "all-but-self-attention"
    train_word_embeddings: bool = True
    embed_width: int = 256
    max_tokens: int = 30
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_one_of("image_encoder", self.image_encoder, ("vit", "efficientnet-lite0"))
        require_one_of("text_init", self.text_init, ("none", "minilm"))
        require_one_of("pooling", self.pooling, ("first", "mean"))
        require_one_of("sharing", self.sharing, NOT_SHARED)
        require(self.image_px % self.patch_px == 0, "image_px", self.image_px, f"a multiple of {self.patch_px}")
        require(1 <= self.feature_grid <= ImageTower.grid, "feature_grid", self.feature_grid, "in 1..7")
        require(3 <= self.max_tokens <= 512, "max_tokens", self.max_tokens, "in 3..512")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        for name in ("image_width", "num_image_heads", "text_width", "num_heads", "num_layers", "embed_width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.num_image_layers >= 0, "num_image_layers", self.num_image_layers, "at least 0")
        heads = f"a divisor of image_width = {self.image_width}"
        require(self.image_width % self.num_image_heads == 0, "num_image_heads", self.num_image_heads, heads)
        heads = f"a divisor of text_width = {self.text_width}"
        require(self.text_width % self.num_heads == 0, "num_heads", self.num_heads, heads)
        if self.text_init == "minilm":
            sizes = (self.text_width, self.num_heads)
            packaged = (TextTower.width, TextTower.num_heads)
            require(sizes == packaged, "text_width, num_heads", sizes, f"{packaged} with text_init: minilm")
            limit = TextTower.num_layers
            require(self.num_layers <= limit, "num_layers", self.num_layers, f"<= {limit} with text_init: minilm")
