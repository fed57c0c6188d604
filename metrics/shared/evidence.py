"""The names of what metrics are computed from, and the capability that a model needs to supply each.

n test samples, m captions of theirs, k generated images; all float arrays are float32.

| name | shape | meaning |
|---|---|---|
| `image_embeddings` | [n, d] | the model's `encode_image` of every test image |
| `video_embeddings` | [n, d] | the model's `encode_video` of every test clip |
| `text_embeddings` | [m, d] | the model's `encode_text` of every caption |
| `text_owner` | int64 [m] | which sample (row of the above, counted from 0 over all batches) a caption belongs to |
| `images` | uint8 [n, 3, h, w] | the test images at the model's size |
| `reconstructions` | uint8 [n, 3, h, w] | the model's `reconstruct` of them |
| `pair_image_embeddings` | [k, d] | the judge's `encode_image` of the images of (image, caption) pairs to be judged |
| `pair_text_embeddings` | [k, d] | the judge's `encode_text` of the captions of the same pairs |
| `pair_owner` | int64 [k] | which test sample the caption (or the image, for a captioner) of a pair comes from |
| `reference_features` | [n, D] | the detector's features of the test images |
| `generated_features` | [k, D] | the detector's features of the generated images |

The pairs are: test image and the caption that the model wrote for it (a captioner), or the image that the model
generated and the caption that it was generated from (a text-conditional generator).
"""

NEEDS: dict[str, frozenset[str]] = {
    "image_embeddings": frozenset({"encode_image"}),
    "video_embeddings": frozenset({"encode_video"}),
    "text_embeddings": frozenset({"encode_text"}),
    "text_owner": frozenset(),
    "images": frozenset(),
    "reconstructions": frozenset({"reconstruct"}),
    "pair_image_embeddings": frozenset({"caption", "generate"}),
    "pair_text_embeddings": frozenset({"caption", "generate"}),
    "pair_owner": frozenset(),
    "reference_features": frozenset(),
    "generated_features": frozenset({"generate"}),
}
"""Capabilities of which a model must have at least one to supply the evidence; empty: none needed."""
