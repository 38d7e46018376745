"""Which language is a reply in? Enough to choose a voice: script first, then function words."""

import re

_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("ja", r"[\u3040-\u30ff]"),
    ("ko", r"[\uac00-\ud7af]"),
    ("zh", r"[\u4e00-\u9fff]"),
    ("ru", r"[\u0400-\u04ff]"),
    ("ar", r"[\u0600-\u06ff]"),
    ("he", r"[\u0590-\u05ff]"),
    ("hi", r"[\u0900-\u097f]"),
    ("el", r"[\u0370-\u03ff]"),
    ("th", r"[\u0e00-\u0e7f]"),
)


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


_WORDS: dict[str, frozenset[str]] = {
    "en": _words("the is are and of to it in that you this with for not what was"),
    "de": _words("der die das ist und ein eine nicht ich du mit auf den es zu sind"),
    "fr": _words("le la les est et un une des je vous pas que dans il elle pour c'est"),
    "es": _words("el la los es y un una de que en por con no está las para"),
    "it": _words("il la è e un una di che in per con non sono gli del della"),
    "pt": _words("o a os é e um uma de que em por com não são para está"),
    "nl": _words("de het een is en van ik je niet dat met op zijn voor"),
    "sv": _words("det är och en ett jag du inte som på med för att"),
    "pl": _words("jest i w na nie to się z że do jak co"),
    "tr": _words("bir ve bu da için ile değil ben sen ne var"),
}


def guess_language(text: str, default: str = "en") -> str:
    """ISO 639-1 code of the text, or `default` where nothing speaks for another one."""
    for code, pattern in _SCRIPTS:
        if len(re.findall(pattern, text)) > 0.3 * max(1, len(re.findall(r"\w", text))):
            return code
    words = re.findall(r"[\w']+", text.lower())
    scores = {code: sum(w in known for w in words) for code, known in _WORDS.items()}
    best = max(scores, key=lambda code: (scores[code], code == default))
    return best if scores[best] > scores.get(default, 0) else default
