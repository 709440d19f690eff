"""Entire-space multi-task model (Ma et al. 2018)."""

from __future__ import annotations

from funneltune.heads.single import Single


class ESMM(Single):
    """Towers over one encoder: pCTR and pCVR, trained through pCTR and pCTCVR = pCTR x pCVR (eqs. 1-3).

    The conditional tower never sees a label of its own: with `objective=entire_space_bce` its gradient comes through
    the product, over all impressions, so it learns CVR without the click space's selection bias. Sharing is the
    encoder's (the paper shares embeddings); for a funnel of any depth each task's product runs along its edges.
    """
