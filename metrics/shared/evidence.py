"""The names of what metrics are computed from, and the capability that a model needs to supply each.

n test samples, m captions of theirs, k generated images, t training images, c classes; float arrays are float32 where
nothing else is said, texts are lists of str.

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
| `train_features` | [t, D] | the detector's features of the images that the model was trained on |
| `written_captions` | n texts | the model's `caption` of every test image |
| `reference_captions` | m texts | the captions of the test images, in the order of `text_owner` |
| `reference_text_embeddings` | [m, d] | the judge's `encode_text` of them |
| `class_embeddings` | [c, d] | the model's `encode_text` of each class, the normalised mean over prompts |
| `image_class` | int64 [n] | the class of each test image, -1 for none |
| `log_likelihoods` | float64 [n] | the model's `log_likelihood` (or its lower bound) of every test image, in nats |
| `num_values` | int64 [n] | how many values (channels, rows, columns) the image of each of these has |
| `codes` | int64 [n, L] | the model's `encode_codes` of every test image |
| `codebook_size` | int64 [1] | how many codes there are |

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
    "train_features": frozenset(),
    "written_captions": frozenset({"caption"}),
    "reference_captions": frozenset(),
    "reference_text_embeddings": frozenset({"caption"}),
    "class_embeddings": frozenset({"encode_text"}),
    "image_class": frozenset({"encode_image"}),
    "log_likelihoods": frozenset({"log_likelihood"}),
    "num_values": frozenset(),
    "codes": frozenset({"encode_codes"}),
    "codebook_size": frozenset({"encode_codes"}),
}
"""Capabilities of which a model must have at least one to supply the evidence; empty: none needed."""
