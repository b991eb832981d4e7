"""Made sentences for tutorials and benchmarks, in English and Chinese: reviews, sentences with names, and questions.

Every kind has two parts whose words differ: what a review praises with, who and what a sentence names, and what a
question is about. What was learnt by heart in "train" is of no use in "test".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hub.errors import one_of
from hub.files import write_text

PARTS = ("train", "test")
_NAMED = re.compile(r"\{(PER|LOC|ORG)\}")


@dataclass(frozen=True)
class _Language:
    """Words between bars or line ends. What stands in braces is one of them, or of questions an action or a thing."""

    good: str
    bad: str
    things: str
    opinions: str
    joint: str
    people: str
    places: str
    firms: str
    told: str
    deeds: str
    objects: str
    questions: str
    blank: str
    """What stands between words."""


_ENGLISH = _Language(
    good="""wonderful|excellent|superb|delightful|charming|brilliant|fantastic|lovely|amazing|outstanding|pleasant
splendid|impressive|perfect|magnificent|marvelous|enjoyable|beautiful|great|awesome|comfortable|reliable|friendly
generous|elegant|helpful|flawless|satisfying|thrilling|gorgeous|remarkable|cheerful|clean|clever|tasty|warm""",
    bad="""terrible|awful|horrible|dreadful|disgusting|disappointing|boring|nasty|poor|lousy|pathetic|ugly|annoying
useless|mediocre|filthy|rude|broken|painful|miserable|worthless|dull|unpleasant|dirty|noisy|bland|stale|clumsy
faulty|unreliable|appalling|hideous|ridiculous|tedious|frustrating|depressing""",
    things="""film|hotel|meal|phone|book|concert|room|service|waiter|camera|story|song|game|laptop|dress|coffee|garden
museum|teacher|lesson|trip|train|beach|show|actor|soup|cake|jacket|chair|lamp""",
    opinions="""the {thing} was {a}|I found the {thing} rather {a}|my sister says the {thing} is {a}
our {thing} last week was quite {a}|honestly the {thing} turned out to be {a}|for the money it is one {a} {thing}
nobody told us that the {thing} would be so {a}|the {thing} and the {other} were both {a}
one {a} {thing} after the other|the {thing} felt {a} and the {other} {b}
they promised us a lot and this is the {a} {thing} that we got""",
    joint=", ",
    people="""Maria|Ahmed|Yuki|Olga|Pedro|Fatima|Lars|Anna|Ivan|Chloe|Raj|Elena|Peter|Aisha|Hans|Lucia|Omar|Sarah|Diego
Ingrid|Emma|Pablo|Nadia|James|Maria Silva|Ahmed Hassan|Yuki Tanaka|Peter Schmidt|Anna Kowalska|Raj Patel
Elena Petrova|Sarah Cohen|Lars Nielsen|Diego Fernandez|Chloe Martin|Omar Khan|Emma Johansson|James Wilson""",
    places="""Paris|Tokyo|Kenya|Norway|Lima|Cairo|Berlin|Peru|Vienna|Chicago|Madrid|India|Oslo|Brazil|Toronto|Seoul
Poland|Lisbon|Dublin|Sydney|Greece|Mumbai|Boston|Finland|Prague|New York|Hong Kong|Cape Town|South Africa|San Francisco
New Zealand|Buenos Aires|Saudi Arabia|Los Angeles|Sri Lanka|Mexico City""",
    firms="""Toyota|Siemens|Google|Nestle|Samsung|Microsoft|Boeing|Volkswagen|Sony|Intel|Philips|Nokia|IBM|Airbus|Bosch
Amazon|Unilever|Pfizer|Adobe|Honda|Ericsson|Shell|Oracle|Nissan|General Motors|Deutsche Bank|Goldman Sachs|Red Cross
World Bank|United Nations|General Electric|Bank of America|Air France|European Union|Procter & Gamble|Morgan Stanley""",
    told="""{PER} moved to {LOC} last year .|have you ever been to {LOC} ?|{ORG} opened an office in {LOC} .
nobody at {ORG} had heard of {PER} .|I met {PER} and {PER} in {LOC} .|{PER} works for {ORG} now .
it rained in {LOC} all week .|yesterday {ORG} sued {ORG} .|is {PER} coming with us on Monday ?
they say {LOC} is beautiful in spring .|{ORG} makes better products than {ORG} .|{PER} gave the keys to {PER} .
our flight from {LOC} to {LOC} was late .|a report by {ORG} says so .|{PER} was born in {LOC} in May .
shares of {ORG} fell on Friday .|the talks between {LOC} and {LOC} failed .|{PER} hired {PER} for {ORG} .
please call {PER} before noon .|the new head of {ORG} is {PER} .|we like {LOC} very much .|we like {PER} very much .
we like {ORG} very much .|everybody talks about {PER} .|everybody talks about {LOC} .|everybody talks about {ORG} .
what do you know about {LOC} ?|what do you know about {PER} ?|what do you know about {ORG} ?
The meeting is at noon in Room Seven .|My English lessons begin in September .|Nothing happened on Sunday .""",
    deeds="""buy,purchase|fix,repair|begin,start|sell,get rid of|clean,wash|find,locate|choose,select|throw away,discard
borrow,get a loan of|paint,put colour on|lift,raise|hide,conceal|send,mail|destroy,demolish|build,construct
gather,collect|change,modify|look after,take care of|rent,lease|measure,find the size of""",
    objects="""car,automobile|house,home|bicycle,bike|phone,telephone|shop,store|sofa,couch|child,kid|film,movie
picture,image|doctor,physician|present,gift|road,street|boat,ship|rubbish,garbage|job,occupation|baby,infant
stone,rock|coat,jacket|television,TV|engine,motor""",
    questions="""how do I {do} the {it} ?|what is the best way to {do} the {it} ?|can you tell me how to {do} the {it} ?
I want to {do} the {it} , what should I do ?|where can I learn to {do} the {it} ?|is it hard to {do} the {it} ?""",
    blank=" ",
)
_CHINESE = _Language(
    good="很棒|优秀|满意|舒适|美味|精彩|漂亮|热情|干净|可靠|周到|划算|出色|温馨|好看|贴心|完美|愉快|实用|惊喜",
    bad="糟糕|失望|难吃|无聊|肮脏|冷漠|破旧|吵闹|难看|劣质|差劲|恶心|粗糙|昂贵|敷衍|痛苦|枯燥|难用|混乱|可恶",
    things="酒店|电影|饭菜|手机|书|房间|服务|相机|故事|音乐|游戏|电脑|衣服|咖啡|花园|老师|课程|旅行|演员|椅子",
    opinions="""这个{thing}真{a}|我觉得{thing}非常{a}|{thing}太{a}了|朋友说{thing}很{a}|没想到{thing}这么{a}
{thing}和{other}都很{a}|总的来说，{thing}相当{a}|住了两天，{thing}让人觉得{a}|{thing}{a}，{other}也{b}""",
    joint="，",
    people="王伟|李娜|张敏|刘洋|陈静|杨帆|赵磊|黄丽|周杰|吴刚|徐明|孙悦|马超|朱琳|胡军|郭涛|林芳|何平|高峰|罗兰",
    places="北京|上海|广州|深圳|成都|杭州|南京|武汉|西安|重庆|天津|苏州|长沙|青岛|大连|昆明|厦门|山东|四川|云南",
    firms="百度|华为|腾讯|阿里巴巴|小米|京东|联想|海尔|格力|比亚迪|中国银行|北京大学|清华大学|中国移动|新浪|网易|美的|中兴|招商银行|复旦大学",
    told="""{PER}去年搬到了{LOC}。|你去过{LOC}吗？|{ORG}在{LOC}开了分公司。|{ORG}没有人认识{PER}。|我在{LOC}见到了{PER}。
{PER}现在在{ORG}工作。|{LOC}下了一周的雨。|听说{LOC}的春天很美。|{PER}把钥匙交给了{PER}。|从{LOC}到{LOC}的飞机晚点了。
{PER}出生在{LOC}。|{ORG}的股票下跌了。|请打电话给{PER}。|大家都在谈论{ORG}。|大家都在谈论{PER}。|大家都在谈论{LOC}。
会议明天中午开始。|星期天什么也没有发生。""",
    deeds="购买,买|修理,维修|清洗,洗|寻找,找|挑选,选|出售,卖|丢弃,扔掉|租用,租|寄送,邮寄|更换,换",
    objects="汽车,轿车|电脑,计算机|自行车,单车|手机,移动电话|房子,住宅|礼物,礼品|照片,相片|医生,大夫|衣服,服装|孩子,小孩",
    questions="怎么{do}{it}？|请问如何{do}{it}？|我想{do}{it}，应该怎么做？|{do}{it}难吗？|{do}{it}最好的办法是什么？",
    blank="",
)
LANGUAGES = {"en": _ENGLISH, "zh": _CHINESE}

Review = tuple[str, str]
Tagged = tuple[list[str], list[str]]
Question = tuple[tuple[str, str], str]


def reviews(each: int, *, part: str, language: str = "en", seed: int = 0) -> list[Review]:
    """Give `each` short reviews of both kinds, (text, "good" or "bad"): one to three opinions of the same mind.

    Raises UsageError for a part or a language that there is not.
    """
    words, rng = _begin(part, language, seed)
    opinions, things = _split(words.opinions), _split(words.things)
    found = []
    for label, listed in (("good", words.good), ("bad", words.bad)):
        own = _half(listed, part, seed)
        for _ in range(each):
            said = []
            for _ in range(1 + rng.binomial(2, 0.25)):
                a, b = rng.choice(own, 2, replace=False)
                thing, other = rng.choice(things, 2, replace=False)
                said.append(_pick(opinions, rng).format(a=a, b=b, thing=thing, other=other))
            found.append((words.joint.join(said), label))
    return [found[n] for n in rng.permutation(len(found))]


def named(count: int, *, part: str, language: str = "en", seed: int = 0) -> list[Tagged]:
    """Give `count` sentences with a BIO tag for each word: people (PER), places (LOC), organisations (ORG).

    In Chinese every character is a word. Not only the names of the parts differ but the sentences around them. Raises
    UsageError for a part or a language that there is not.
    """
    words, rng = _begin(part, language, seed)
    names = {
        kind: _half(listed, part, seed)
        for kind, listed in (("PER", words.people), ("LOC", words.places), ("ORG", words.firms))
    }
    told = _half(words.told, part, seed)
    return [_tagged(_pick(told, rng), names, words.blank, rng) for _ in range(count)]


def questions(each: int, *, part: str, language: str = "en", seed: int = 0) -> list[Question]:
    """Give `each` pairs of questions that ask the "same", more or less in other words, and as many "different" ones.

    Raises UsageError for a part or a language that there is not.
    """
    words, rng = _begin(part, language, seed)
    ways, deeds, objects = (
        _split(words.questions), _half(words.deeds, part, seed), _half(words.objects, part, seed),
    )  # fmt: skip
    found: list[Question] = []
    for number in range(2 * each):
        do, it = (_pick(words, rng) for words in (deeds, objects))
        asked = {"do": do, "it": it}
        if number % 2:  # another thing to do, or to do it with
            slot, words_of = ("do", deeds) if rng.random() < 0.5 else ("it", objects)
            asked[slot] = _pick([other for other in words_of if other != asked[slot]], rng)
        way, way_too = rng.choice(ways, 2, replace=False)
        first, second = (
            {slot: _pick(ways_to_say.split(","), rng) for slot, ways_to_say in meant.items()}
            for meant in ({"do": do, "it": it}, asked)
        )
        pair = way.format(**first), way_too.format(**second)
        found.append((pair, "different" if number % 2 else "same"))
    return [found[n] for n in rng.permutation(len(found))]


def export_reviews(
    folder: str | Path, *, train_each: int = 32, test_each: int = 100, language: str = "en"
) -> Path:
    """Write reviews as train.tsv and test.tsv, with the columns text and label, and give the folder."""
    rows = {
        part: [f"{text}\t{label}" for text, label in reviews(count, part=part, language=language)]
        for part, count in zip(PARTS, (train_each, test_each), strict=True)
    }
    return _write(folder, {f"{part}.tsv": ["text\tlabel", *lines] for part, lines in rows.items()})


def export_named(folder: str | Path, *, train: int = 150, test: int = 150, language: str = "en") -> Path:
    """Write tagged sentences as train.conll and test.conll, a word a line, and give the folder."""
    lines = {
        part: [
            line
            for sentence, tags in named(count, part=part, language=language)
            for line in [*map("\t".join, zip(sentence, tags, strict=True)), ""]
        ]
        for part, count in zip(PARTS, (train, test), strict=True)
    }
    return _write(folder, {f"{part}.conll": each for part, each in lines.items()})


def export_questions(
    folder: str | Path, *, train_each: int = 50, test_each: int = 100, language: str = "en"
) -> Path:
    """Write pairs as train.tsv and test.tsv, with the columns text_a, text_b and label, and give the folder."""
    rows = {
        part: [f"{a}\t{b}\t{label}" for (a, b), label in questions(count, part=part, language=language)]
        for part, count in zip(PARTS, (train_each, test_each), strict=True)
    }
    return _write(folder, {f"{part}.tsv": ["text_a\ttext_b\tlabel", *lines] for part, lines in rows.items()})


def _begin(part: str, language: str, seed: int) -> tuple[_Language, np.random.Generator]:
    for what, given, known in (("part", part, PARTS), ("language", language, LANGUAGES)):
        if given not in known:
            raise one_of(what, given, known)
    return LANGUAGES[language], np.random.default_rng((seed, 1 + PARTS.index(part)))


def _split(listed: str) -> list[str]:
    return listed.replace("\n", "|").split("|")


def _half(listed: str, part: str, seed: int) -> list[str]:
    """Give the half of the words that belongs to a part: another one for every seed."""
    words = _split(listed)
    return [words[n] for n in np.random.default_rng(seed).permutation(len(words))[PARTS.index(part) :: 2]]


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _tagged(
    sentence: str, names: dict[str, list[str]], blank: str, rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    found: list[str] = []
    tags: list[str] = []
    for number, part in enumerate(_NAMED.split(sentence)):  # what is between names, and their kinds, by turns
        words = list(_words(_pick(names[part], rng) if number % 2 else part, blank))
        tags += [f"{'I' if place else 'B'}-{part}" if number % 2 else "O" for place in range(len(words))]
        found += words
    return found, tags


def _words(text: str, blank: str) -> Iterator[str]:
    return iter(text.split() if blank else text)


def _write(folder: str | Path, files: dict[str, list[str]]) -> Path:
    folder = Path(os.path.expanduser(folder))
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        write_text(folder / name, "\n".join(lines) + "\n")
    return folder
