"""Strokes: letters as lines, for pictures that must explain themselves wherever no font can be counted on.

The shapes are Hershey's "Simplex" of the Futura kind, one stroke wide. The Hershey Fonts were originally created by
Dr. A. V. Hershey while working at the U. S. National Bureau of Standards; the format of the font data is that of
James Hurt, Cognition, Inc.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

Points = list[tuple[float, float]]

#: Height of capitals, and how far below their top the base line lies, in the font's units.
CAPITALS = 21
_TOP = -12


class Glyph(NamedTuple):
    """A letter: how wide it is, and its lines, x to the right from its left side and y down from the capitals' top."""

    width: int
    lines: list[list[tuple[int, int]]]


def text_width(words: str, size: float) -> float:
    """Width of a text whose capitals are ``size`` high."""
    return sum(_glyph(letter).width for letter in words) * size / CAPITALS


def text_lines(words: str, x: float, y: float, size: float) -> list[Points]:
    """Lines of a text that starts at ``x`` and stands on ``y``; ``size`` is the height of capitals.

    Letters beyond ASCII become question marks.
    """
    scale, lines = size / CAPITALS, []
    for letter in words:
        glyph = _glyph(letter)
        lines += [[(x + a * scale, y - size + b * scale) for a, b in line] for line in glyph.lines]
        x += glyph.width * scale
    return lines


@cache
def _glyph(letter: str) -> Glyph:
    code = ord(letter) - ord(" ")
    sides, *strokes = _FONT[code if 0 <= code < len(_FONT) else ord("?") - ord(" ")].split(" ")
    left, right = (_number(mark) for mark in sides)
    lines = [
        [(_number(x) - left, _number(y) - _TOP) for x, y in zip(stroke[0::2], stroke[1::2], strict=True)]
        for stroke in strokes
    ]
    return Glyph(right - left, lines)


def _number(mark: str) -> int:
    return ord(mark) - ord("R")


#: Letters from the space to the tilde. First the left and the right side, then strokes; a letter of the alphabet is a
#: number, R is 0.
_FONT = r"""
JZ
MW RFRT RYQZR[SZRY
JZ NFNM VFVM
H] SBLb YBRb LOZO KUYU
H\ PBP_ TBT_ YIWGTFPFMGKIKKLMMNOOUQWRXSYUYXWZT[P[MZKX
F^ [FI[ NFPHPJOLMMKMIKIIJGLFNFPGSHVHYG[F WTUUTWTYV[X[ZZ[X[VYTWT
E_ \O\N[MZMYNXPVUTXRZP[L[JZIYHWHUISJRQNRMSKSIRGPFNGMIMKNNPQUXWZY[[[\Z\Y
MW RHQGRFSGSIRKQL
KY VBTDRGPKOPOTPYR]T`Vb
KY NBPDRGTKUPUTTYR]P`Nb
JZ RLRX MOWU WOMU
E_ RIR[ IR[R
NV SWRXQWRVSWSYQ[
E_ IR[R
NV RVQWRXSWRV
G] [BIb
H\ QFNGLJKOKRLWNZQ[S[VZXWYRYOXJVGSFQF
H\ NJPISFS[
H\ LKLJMHNGPFTFVGWHXJXLWNUQK[Y[
H\ MFXFRNUNWOXPYSYUXXVZS[P[MZLYKW
H\ UFKTZT UFU[
H\ WFMFLOMNPMSMVNXPYSYUXXVZS[P[MZLYKW
H\ XIWGTFRFOGMJLOLTMXOZR[S[VZXXYUYTXQVOSNRNOOMQLT
H\ YFO[ KFYF
H\ PFMGLILKMMONSOVPXRYTYWXYWZT[P[MZLYKWKTLRNPQOUNWMXKXIWGTFPF
H\ XMWPURRSQSNRLPKMKLLINGQFRFUGWIXMXRWWUZR[P[MZLX
NV ROQPRQSPRO RVQWRXSWRV
NV ROQPRQSPRO SWRXQWRVSWSYQ[
F^ ZIJRZ[
E_ IO[O IU[U
F^ JIZRJ[
I[ LKLJMHNGPFTFVGWHXJXLWNVORQRT RYQZR[SZRY
E` WNVLTKQKOLNMMPMSNUPVSVUUVS QKOMNPNSOUPV WKVSVUXVZV\T]Q]O\L[JYHWGTFQFNGLHJJILHOHRIUJWLYNZQ[T[WZYYZX XKWSWUXV
I[ RFJ[ RFZ[ MTWT
G\ KFK[ KFTFWGXHYJYLXNWOTP KPTPWQXRYTYWXYWZT[K[
H] ZKYIWGUFQFOGMILKKNKSLVMXOZQ[U[WZYXZV
G\ KFK[ KFRFUGWIXKYNYSXVWXUZR[K[
H[ LFL[ LFYF LPTP L[Y[
HZ LFL[ LFYF LPTP
H] ZKYIWGUFQFOGMILKKNKSLVMXOZQ[U[WZYXZVZS USZS
G] KFK[ YFY[ KPYP
NV RFR[
JZ VFVVUYTZR[P[NZMYLVLT
G\ KFK[ YFKT POY[
HY LFL[ L[X[
F^ JFJ[ JFR[ ZFR[ ZFZ[
G] KFK[ KFY[ YFY[
G] PFNGLIKKJNJSKVLXNZP[T[VZXXYVZSZNYKXIVGTFPF
G\ KFK[ KFTFWGXHYJYMXOWPTQKQ
G] PFNGLIKKJNJSKVLXNZP[T[VZXXYVZSZNYKXIVGTFPF SWY]
G\ KFK[ KFTFWGXHYJYLXNWOTPKP RPY[
H\ YIWGTFPFMGKIKKLMMNOOUQWRXSYUYXWZT[P[MZKX
JZ RFR[ KFYF
G] KFKULXNZQ[S[VZXXYUYF
I[ JFR[ ZFR[
F^ HFM[ RFM[ RFW[ \FW[
H\ KFY[ YFK[
I[ JFRPR[ ZFRP
H\ YFK[ KFYF K[Y[
KY OBOb PBPb OBVB ObVb
KY KFY^
KY TBTb UBUb NBUB NbUb
JZ RDJR RDZR
I[ Ib[b
NV SKQMQORPSORNQO
I\ XMX[ XPVNTMQMONMPLSLUMXOZQ[T[VZXX
H[ LFL[ LPNNPMSMUNWPXSXUWXUZS[P[NZLX
I[ XPVNTMQMONMPLSLUMXOZQ[T[VZXX
I\ XFX[ XPVNTMQMONMPLSLUMXOZQ[T[VZXX
I[ LSXSXQWOVNTMQMONMPLSLUMXOZQ[T[VZXX
MY WFUFSGRJR[ OMVM
I\ XMX]W`VaTbQbOa XPVNTMQMONMPLSLUMXOZQ[T[VZXX
I\ MFM[ MQPNRMUMWNXQX[
NV QFRGSFREQF RMR[
MW RFSGTFSERF SMS^RaPbNb
IZ MFM[ WMMW QSX[
NV RFR[
Ca GMG[ GQJNLMOMQNRQR[ RQUNWMZM\N]Q][
I\ MMM[ MQPNRMUMWNXQX[
I\ QMONMPLSLUMXOZQ[T[VZXXYUYSXPVNTMQM
H[ LMLb LPNNPMSMUNWPXSXUWXUZS[P[NZLX
I\ XMXb XPVNTMQMONMPLSLUMXOZQ[T[VZXX
KX OMO[ OSPPRNTMWM
J[ XPWNTMQMNNMPNRPSUTWUXWXXWZT[Q[NZMX
MY RFRWSZU[W[ OMVM
I\ MMMWNZP[S[UZXW XMX[
JZ LMR[ XMR[
G] JMN[ RMN[ RMV[ ZMV[
J[ MMX[ XMM[
JZ LMR[ XMR[P_NaLbKb
J[ XMM[ MMXM M[X[
KY TBRCQDPFPHQJRKSMSOQQ RCQEQGRISJTLTNSPORSTTVTXSZR[Q]Q_Ra QSSUSWRYQZP\P^Q`RaTb
NV RBRb
KY PBRCSDTFTHSJRKQMQOSQ RCSESGRIQJPLPNQPURQTPVPXQZR[S]S_Ra SSQUQWRYSZT\T^S`RaPb
F^ IUISJPLONOPPTSVTXTZS[Q ISJQLPNPPQTTVUXUZT[Q[O
""".strip("\n").split("\n")
