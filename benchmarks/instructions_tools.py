"""Candidate answers for ``benchmarks.instructions``: texts, some made to follow an instruction or just miss it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from trilemma.suites import data
from trilemma.suites.boolq import DATASET as PASSAGES
from trilemma.suites.gsm8k import Gsm8k

FOREIGN = {
    "ar": "ذهبت أمس إلى السوق مع أصدقائي واشترينا الفاكهة والخبز الطازج.",
    "bg": "Вчера отидох на пазара с приятелите си и купихме плодове и пресен хляб.",
    "bn": "গতকাল আমি বন্ধুদের সাথে বাজারে গিয়েছিলাম এবং আমরা ফল ও তাজা রুটি কিনেছি।",
    "de": "Gestern ging ich mit meinen Freunden auf den Markt und wir kauften Obst und frisches Brot.",
    "fa": "دیروز با دوستانم به بازار رفتم و میوه و نان تازه خریدیم.",
    "fi": "Eilen kävin ystävieni kanssa torilla ja ostimme hedelmiä ja tuoretta leipää.",
    "gu": "ગઈકાલે હું મારા મિત્રો સાથે બજારમાં ગયો હતો અને અમે ફળ અને તાજી રોટલી ખરીદી.",
    "hi": "कल मैं अपने दोस्तों के साथ बाज़ार गया था और हमने फल और ताज़ी रोटी खरीदी।",
    "it": "Ieri sono andato al mercato con i miei amici e abbiamo comprato frutta e pane fresco.",
    "kn": "ನಿನ್ನೆ ನಾನು ನನ್ನ ಸ್ನೇಹಿತರೊಂದಿಗೆ ಮಾರುಕಟ್ಟೆಗೆ ಹೋಗಿದ್ದೆ ಮತ್ತು ನಾವು ಹಣ್ಣು ಖರೀದಿಸಿದೆವು.",
    "ko": "어제 친구들과 함께 시장에 가서 과일과 갓 구운 빵을 샀습니다.",
    "mr": "काल मी माझ्या मित्रांसोबत बाजारात गेलो होतो आणि आम्ही फळे आणि ताजी भाकरी विकत घेतली.",
    "ne": "हिजो म साथीहरूसँग बजार गएको थिएँ र हामीले फलफूल र ताजा रोटी किन्यौं।",
    "pa": "ਕੱਲ੍ਹ ਮੈਂ ਆਪਣੇ ਦੋਸਤਾਂ ਨਾਲ ਬਾਜ਼ਾਰ ਗਿਆ ਸੀ ਅਤੇ ਅਸੀਂ ਫਲ ਅਤੇ ਤਾਜ਼ੀ ਰੋਟੀ ਖਰੀਦੀ।",
    "pt": "Ontem fui ao mercado com os meus amigos e comprámos fruta e pão fresco.",
    "ru": "Вчера я ходил на рынок с друзьями, и мы купили фрукты и свежий хлеб.",
    "sw": "Jana nilikwenda sokoni pamoja na marafiki zangu na tulinunua matunda na mkate mpya.",
    "ta": "நேற்று நான் என் நண்பர்களுடன் சந்தைக்குச் சென்றேன், நாங்கள் பழங்களையும் ரொட்டியையும் வாங்கினோம்.",
    "te": "నిన్న నేను నా స్నేహితులతో కలిసి మార్కెట్‌కు వెళ్లాను, మేము పండ్లు మరియు రొట్టె కొన్నాము.",
    "th": "เมื่อวานนี้ฉันไปตลาดกับเพื่อนและเราซื้อผลไม้กับขนมปังสดใหม่",
    "ur": "کل میں اپنے دوستوں کے ساتھ بازار گیا تھا اور ہم نے پھل اور تازہ روٹی خریدی۔",
    "vi": "Hôm qua tôi đã đi chợ với bạn bè và chúng tôi đã mua trái cây và bánh mì tươi.",
}
"""One sentence in each language that a prompt asks for."""

AWKWARD = (
    "Dr. Smith met Mrs. Jones at 5 p.m. in Washington, D.C. They talked about the U.S. economy (e.g. prices, wages, "
    'etc.) and J. R. Miller listened... "What now?" he asked. "Nothing!" she said. It cost $3.50, i.e. too much.'
    "\n\n1. Wait for it. 2. Don't go. 3. See Fig. 2 and No. 7.",
    "**Note.** The *first* one is fine. *See below.* (It isn't.) [Really?] Visit www.example.com. Or write to "
    "a.b@example.org! Version 2.0.1 is out; St. Mary's Inc. has it. Mr. and Mrs. Lee, Ph.D., left at 10 a.m. sharp.",
    "WARNING: DON'T TOUCH THE NASA PANEL! IT'S HOT; YOU CAN'T/WON'T USE IT... SEE PART A--B OR CALL THE F.B.I. (ASAP). "
    "I CANNOT say more. \"OK,\" said BOB. 'TIS TRUE. We're GONNA GO to the U.S.A. today. X-RAY, A/B, C#, R&D.",
    "- one\n- two\n* three\n  * four\n\n\n**five**\n*\nsix\n--- \n***\n",
    "Roses are red\nViolets are blue\n\nSugar is sweet\n\n\n\nAnd so are you",
)
"""Texts full of what is hard to cut into sentences, words and bullets."""


def texts() -> list[str]:
    """Passages of an encyclopaedia, and problems of grade school."""
    # BoolQ's passages are tokenised in part: "``", "''" and spaces before full stops stay as they are.
    passages = {row.text("passage").partition(" -- ")[2] for row in data.load(PASSAGES).rows}
    return sorted(passages - {""}) + [row.text("question") for row in data.load(Gsm8k.dataset).rows]


def _sentences(pool: list[str], draw: random.Random, count: int) -> str:
    """About ``count`` sentences."""
    found: list[str] = []
    while len(found) < count:
        found += re.split(r"(?<=[.!?]) +(?=[A-Z])", draw.choice(pool))
    return " ".join(found[:count])


def _near(given: Mapping[str, Any], number: str, draw: random.Random) -> int:
    return max(0, int(given[number]) + draw.choice((-2, -1, -1, 0, 0, 1, 2)))


def _parts(kind: str, given: Mapping[str, Any], pool: list[str], draw: random.Random) -> str:  # noqa: PLR0911, PLR0912, PLR0915
    """A text near the edge of what instruction ``kind`` asks for: about half of them follow it."""
    some = _sentences(pool, draw, draw.randint(1, 6))
    luck = draw.random() < 0.6
    match kind.partition(":")[2]:
        case "capital_word_frequency":
            words = some.split()
            for place in draw.sample(range(len(words)), min(len(words), _near(given, "capital_frequency", draw))):
                words[place] = words[place].upper()
            return " ".join(words)
        case "english_capital":
            return some.upper() if luck else some.upper().replace("THE", "The")
        case "english_lowercase":
            return some.lower() if luck else some.lower().capitalize()
        case "repeat_prompt":
            prompt = str(given["prompt_to_repeat"])
            before = "" if luck else draw.choice(("Sure! ", "*", "\n"))
            return f"{before}{prompt[0 if luck else draw.randint(0, 1) :]}\n\n{some}"
        case "two_responses":
            other = _sentences(pool, draw, 2) if luck else some
            edge = draw.choice(("", "", "******\n"))
            return f"{edge}{some}\n{draw.choice(('******', '******', '*****', '*******'))}\n{other}\n{edge}"
        case "number_placeholders":
            return f"{some} {' '.join(f'[{word}]' for word in some.split()[: _near(given, 'num_placeholders', draw)])}"
        case "postscript":
            marker = str(given["postscript_marker"])
            return f"{some}\n\n{marker if luck else draw.choice(('PS:', 'P. S.', 'p.s.', 'P.P.S.', 'P.S'))} {some[:40]}"
        case "constrained_response":
            return draw.choice(("My answer is yes.", "My answer is no", "**My answer is maybe.**", "my answer is no."))
        case "json_format":
            text = json.dumps({"answer": some, "parts": some.split()[:3]}, indent=draw.choice((None, 2)))
            fence = draw.choice(("```json\n{}\n```", "```\n{}\n```", "{}", "Here:\n{}", "```JSON{}```", "{}\nDone."))
            return fence.replace("{}", text if luck else text.replace('"', "'"))
        case "multiple_sections":
            word = str(given["section_spliter"])
            return "\n".join(f"{word} {n}\n{some}" for n in range(1, _near(given, "num_sections", draw) + 1)) or some
        case "number_bullet_lists":
            mark = draw.choice(("* ", "- ", "  * ", "*\t", "** "))
            return "\n".join(["List:", *(f"{mark}{some[:30]}" for _ in range(_near(given, "num_bullets", draw)))])
        case "number_highlighted_sections":
            mark = draw.choice(("*", "**", "* "))
            count = _near(given, "num_highlights", draw)
            return f"{some} {' and '.join(f'{mark}{word}{mark}' for word in some.split()[:count])}"
        case "title":
            return (
                draw.choice(("<<{}>>", "<<{}>> and <<>>", "<{}>", "<<>>", "<< >>{}", "<<\n{}>>")).replace(
                    "{}", some[:20]
                )
                + f"\n{some}"
            )
        case "existence":
            words = [str(word) for word in given["keywords"]]
            return f"{some} {' '.join(words if luck else words[1:]).title()}."
        case "forbidden_words":
            word = str(draw.choice(given["forbidden_words"]))
            return f"{some} {some[:20]} {draw.choice((word, word.upper() + '!', word + 's', 'un' + word))} {some[:9]}"
        case "frequency":
            return f"{some} {' '.join([str(given['keyword'])] * _near(given, 'frequency', draw))}."
        case "letter_frequency":
            letter = str(given["letter"])
            return some.replace(letter, "") + draw.choice((letter, letter.upper())) * _near(
                given, "let_frequency", draw
            )
        case "response_language":
            language = str(given["language"]) if luck else draw.choice(sorted(FOREIGN))
            return " ".join([FOREIGN[language]] * draw.randint(1, 3) + ([some[:60]] if draw.random() < 0.2 else []))
        case "nth_paragraph_first_word":
            count = max(1, _near(given, "num_paragraphs", draw) if not luck else int(given["num_paragraphs"]))
            paragraphs = [_sentences(pool, draw, 2) for _ in range(count)]
            nth = min(count, int(given["nth_paragraph"])) - 1
            word = str(given["first_word"])
            beginning = draw.choice((word, f"{word.title()},", f'"{word}"', f"* {word}"))
            paragraphs[nth] = f"{beginning} {paragraphs[nth]}"
            return draw.choice(("\n\n", "\n\n", "\n\n\n\n")).join(paragraphs)
        case "number_paragraphs":
            count = max(1, _near(given, "num_paragraphs", draw))
            edge = draw.choice(("", "", "***\n"))
            divider = draw.choice(("\n***\n", "\n\n***\n\n", "***", "\n* * *\n"))
            return edge + divider.join(_sentences(pool, draw, 2) for _ in range(count)) + edge
        case "number_sentences":
            return _sentences(pool, draw, max(1, _near(given, "num_sentences", draw)))
        case "number_words":
            words = _sentences(pool, draw, 20 + int(given["num_words"]) // 5).split()
            return " ".join(words[: max(1, int(int(given["num_words"]) * draw.uniform(0.8, 1.15)))])
        case "no_comma":
            return some.replace(",", "") if luck else some.replace(",", "") + " Yes, indeed."
        case "end_checker":
            phrase = str(given["end_phrase"])
            endings = (phrase, phrase.upper(), f'"{phrase}"', f"**{phrase}**", f"{phrase} Bye")
            return f"{some} {draw.choice(endings)}"
        case "quotation":
            return draw.choice(('"{}"', '"{}"', '"{}', "“{}”", '  "{}"\n')).replace("{}", some)
    raise ValueError(kind)


def answers(row: data.Row, pool: list[str], seed: int) -> Iterator[str]:
    """A dozen or more answers to the prompt of ``row``."""
    draw = random.Random(f"{seed}/{row.index}")
    made = []
    for kind, given in zip(row.texts("instruction_id_list"), row.values["kwargs"], strict=True):
        made += [_parts(kind, given, pool, draw) for _ in range(4)]
    yield from made
    yield f"Sure, here it is:\n{draw.choice(made)}\nLet me know if you want more!"
    yield f"**Answer**\n\n**{draw.choice(made)}**"
    text = _sentences(pool, draw, draw.randint(3, 40))
    yield text
    yield draw.choice(("", " \n", text.upper(), text.lower(), f'"{text}"', text.replace(". ", ".\n\n")))
    yield f"{draw.choice(AWKWARD)} {draw.choice((text, text[:80], ''))}"
    yield draw.choice(("*", "***", "******", '"', "{}", "[1, 2]", "<<a>>", "- a", "…", "12.5", draw.choice(AWKWARD)))
