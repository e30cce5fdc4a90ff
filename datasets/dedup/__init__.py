"""Near-duplicates and decontamination: pure functions from signals to pairs. Exact copies share their asset id.

Signals of one modality, in the order of `ids`, are first converted to arrays. Pairs are (N, 2) indices, i < j,
sorted:

    hashes = perceptual.hashes(words)         # `phash` of images and videos, `fingerprint` of audio
    thumbs = np.stack(vectors)                # `thumb`, `sound_thumb`
    pairs = perceptual.near_duplicates(ids, hashes, thumbs)                          # images and videos
    pairs = perceptual.same_detail(pairs, {index: detail, ...})                      # `detail` of the items in pairs
    pairs = perceptual.near_duplicates(ids, hashes, thumbs, SOUND.bits, SOUND.colour)                        # audio
    pairs = minhash.near_duplicates(minhash.signatures(words))                       # `minhash` of texts
    pairs = semantic.near_duplicates(embeddings, min_cosine=0.97)                    # `..._embedding`; audio 0.99
    near = [ids[first] for first in groups(len(ids), pairs)]  # a group has the id of its first item: sort ids by rank
    leaks = decontaminate.matches(Items(ids, hashes, thumbs), Items(...), decontaminate.THRESHOLDS["image"])
"""

from codi2_datasets.dedup.pairs import groups

__all__ = ["groups"]
