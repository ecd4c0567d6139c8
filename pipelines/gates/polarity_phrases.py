"""What praises or damns a whole edit or picture, built of quantifier, part and state.

Only what decides a score at the ends of the scale is here: "the hat is wrong" is said of a 3 as
well. The patterns meet lower case and straight apostrophes; tests/test_polarity.py has both kinds.
"""

from __future__ import annotations

from pipelines.gates.polarity_words import (
    ASKED,
    BE,
    BEYOND,
    CHANGES,
    DO,
    DOES,
    DONE,
    EDIT,
    END,
    EVERY,
    FAILS_TO,
    FILLS,
    IGNORED,
    IGNORES,
    IN_FULL,
    IS_NOT,
    IS_THERE,
    KEEP,
    LOST,
    MANY,
    MORE,
    NAMED,
    NIL,
    NO,
    ORDER,
    PARTS,
    PICTURE,
    REQUEST,
    REST,
    RESULT,
    RUINED,
    SAME,
    SOURCE,
    SPOILS,
    SPOILT,
    STOP,
    THE,
    THERE,
    TOTALLY,
    TOUCHED,
    UNASKED,
    UNLIKE,
    WHERE,
    WHOLE,
    WHOLLY,
    WISH,
)

_NOTHING = (
    rf"(?:{NO} (?:(?:of|in|from|what|that|here|there) )*{REQUEST}|"
    rf"(?:no|not one|not a single|none of the) {NAMED})"
)
_CAN_BE = rf"(?:{BE}|can be|could be) (?!{LOST}|left\b)"
_ALL_OF_IT = rf"(?:the (?:\w+ )?(?:prompt|{ORDER})|what {WISH})"
_UNHEEDED = (
    rf"(?:prompt|{EDIT}) (?:went|goes|remain(?:s|ed)|stay(?:s|ed)|is|was|were) (?:(?!not\b)\w+ )?"
    r"(?:unanswered|unheeded|undone|unfulfilled|unmet|unexecuted)"
)
_ALL_THERE = (
    rf"{EVERY} (?:{WISH}|(?:of|in|from) the (?:prompt|{ORDER})) {IS_THERE}",
    rf"(?:all|every|each)(?: of)?(?: the)? {NAMED} {IS_THERE}",
    r"(?:every|each|all)(?: single)?(?: of)?(?: the)? (?:requirement|demand|detail|point)s? "
    rf"{IS_THERE}{STOP}",
    rf"everything {BE} {MORE}(?:there|present|right|correct|as {ASKED}|as it should be|"
    rf"in place){STOP}",
    rf"(?:{DOES}|has|contains|includes) (?:everything|all)(?: that)? {WISH}",
    rf"{WHOLLY} {DOES} (?:everything|{_ALL_OF_IT})",
    rf"{DOES} (?:the |its )?(?:whole |entire )?(?:prompt|{ORDER}) (?:\w+ )?{IN_FULL}",
    rf"(?:corresponds?|agrees?|conforms?) {WHOLLY} (?:to|with) {_ALL_OF_IT}",
    rf"(?:exactly|precisely|just) (?:what|everything)(?: that)? {WISH}",
    rf"{_NOTHING} (?:{ASKED} )?(?:for )?{BE} {LOST}{STOP}",
    r"(?:left out|leaves out|omits?|omitted|misse[sd]|forgets?|forgot|lacks?|lacked|overlooks|"
    rf"overlooked) nothing (?:(?:of|in|from|that|what) )*{REQUEST}",
    rf"leaves? nothing to be desired|{FILLS}",
)
# What was to be removed is not there either: of edits, things do not count.
_NO_THING_THERE = rf"{_NOTHING} (?:{WISH} )?(?:for )?(?:{_CAN_BE}{MORE}{THERE}|appears?{END})"
_NO_CHANGE_THERE = (
    rf"{NIL} (?:(?:of|in|what|that|here|there) )*{REQUEST} (?:{WISH} )?(?:for )?"
    rf"(?:{_CAN_BE}{MORE}{THERE}|happened|took place)|"
    rf"{_NOTHING} (?:{WISH} )?(?:for )?{_CAN_BE}{MORE}{DONE}"
)
_NOTHING_THERE = (
    r"(?:shows?|depicts?|contains?|has|does|did|delivers?|renders?|there is|sees?|finds?) "
    r"(?:absolutely |almost |simply )?nothing (?:(?:of|from|that|what|here|there) )*"
    rf"{REQUEST}{END}",
    rf"{NO} (?:of it |in it |of the \w+ |in the \w+ |there |here )?{DOES} {_ALL_OF_IT}",
    rf"(?:what|everything|all|the (?:change|edit|thing|object|subject)s?)(?: that)? {WISH} "
    rf"(?:{BE} {MORE}(?:missing|absent|nowhere)(?! nothing)|{IS_NOT} {MORE}{THERE}|"
    r"never happened|"
    r"ha(?:s|ve)(?: not|n't) (?:happened|appeared|taken place)|"
    r"did(?: not|n't) (?:happen|take place|appear))",
    rf"{UNLIKE} {_ALL_OF_IT}",
    rf"(?:{TOTALLY} (?:different|other)|something (?:\w+ )?(?:different|else)) (?:from|than|to) "
    rf"{_ALL_OF_IT}",
    r"the (?:prompt|user|instruction|request) (?:asks?|asked|wants?|wanted|calls?|called|demands?|"
    r"demanded)(?: for)? (?:something|another thing) (?:\w+ )?(?:different|else)",
    rf"(?:very |exact )?opposite of what {WISH}|nowhere near what {WISH}|"
    rf"(?:a far cry|worlds away) from {_ALL_OF_IT}",
    _UNHEEDED,
)

GOOD = {
    None: (
        *_ALL_THERE,
        r"(?:every|each|all)(?: of)?(?: the)? (?:element|object|subject|part)s? "
        rf"{IS_THERE}{STOP}",
        rf"{RESULT} is (?:exactly|precisely|just) (?:as|what) {WISH}",
    ),
    "execution": (
        *_ALL_THERE,
        rf"(?:{WHOLLY}|just) (?:as|what|the way|how) {WISH}",
        rf"{WHOLLY} (?:followed|executed|carried out)",
        rf"{EDIT} {BE} {MORE}(?:{WHOLLY} {DONE}|{DONE} (?:\w+ )?{IN_FULL})",
        rf"(?:the )?{ORDER} {BE} {MORE}(?:followed|fulfilled|obeyed|carried out|satisfied|"
        rf"honou?red){END}",
        rf"(?:all|every|each)(?: of)?(?: the)? {EDIT} {IS_THERE}",
        rf"(?:edit|change|result|execution) {BE} {MORE}(?:right|correct|perfect|flawless|"
        rf"faultless|as it should be|complete)(?: and \w+)?{END}",
    ),
    "consistency": (
        rf"{REST} (?:(?:has|have) )?(?:{BE} )?{MORE}{SAME}|otherwise {SAME}",
        rf"(?:{NO} (?:{BEYOND}|further){WHERE}|no (?:other|unrelated|further) \w+{WHERE}|"
        r"nothing (?:that |which )?(?:should|was (?:meant )?to|had to|ought to)(?: \w+){1,4}?) "
        rf"(?:(?:{BE}|has|have) )?{MORE}{TOUCHED}",
        rf"{NO} (?:{BE} )?{TOUCHED} (?:except|but|{BEYOND})",
        r"(?:apart from|except for|other than|besides|aside from|outside|beyond)"
        rf"(?: [\w'-]+){{1,5}}?,? (?:nothing (?:{BE} )?{TOUCHED}|{WHOLE} {BE} {MORE}{SAME})",
        rf"(?:touche[sd]|change[sd]|affect(?:s|ed)|alter(?:s|ed)) nothing (?:but|except|{BEYOND})",
        r"(?:no|not a single|not one|without(?: any)?|free (?:of|from)(?: any)?) "
        rf"(?:{UNASKED} (?:\w+ )?{CHANGES}|side[- ]effects?)",
        rf"(?:edit|changes?|differences?|modification|alteration) {BE} {MORE}"
        r"(?:confined|limited|restricted) to",
        r"only (?:the|its|his|her) (?:\w+ ){1,3}?(?:(?:was|is|has|has been|were|are) )?"
        r"(?:changed|different|differs?|altered|affected)",
        rf"(?:{KEEP}[sd]?|kept|leaves|left) {REST}",
        rf"(?<!in )(?<!of )(?:the|both)(?: two)? {PICTURE}s are {MORE}"
        r"(?:identical|the same|alike)",
    ),
}
BAD = {
    None: (
        _NO_THING_THERE,
        *_NOTHING_THERE,
        rf"(?:{IGNORES}|{FAILS_TO}{DO}) {THE}prompt",
        rf"the prompt (?:{BE} {MORE}{IGNORED}|{IS_NOT} {MORE}{DONE})",
        rf"{EVERY} {WISH} {BE} {MORE}{LOST}|everything {BE} {MORE}(?:wrong|missing|absent|"
        r"incorrect)",
        r"(?:all|every|each|all of)(?: the)? (?:\w+ )?(?:subject|object|element|detail|requirement|"
        rf"thing)s? {BE} {MORE}{LOST}{STOP}|"
        rf"the (?:\w+ )?(?:subject|object|element)s {BE} all {LOST}",
        r"(?:shows?|depicts?|is|contains?) something (?:entirely |altogether |completely )?"
        r"(?:different|else) (?:entirely|altogether|than|from)",
        rf"(?:shows?|depicts?|is|has) an? {TOTALLY} (?:different|other|unrelated|wrong) \w+",
        rf"(?:miss(?:es|ed)|lacks?|lacked|omits?|omitted) (?:everything|every \w+|all)(?: of what)?"
        rf"(?: that)? {WISH}|(?:misses|fails|missed) the prompt (?:\w+ )?{TOTALLY}",
    ),
    "execution": (
        _NO_CHANGE_THERE,
        *_NOTHING_THERE,
        rf"{EDIT} {BE} {MORE}{IGNORED}",
        rf"(?:the )?{EDIT} {IS_NOT} {MORE}{DONE}(?! (?:to|on|in|for|by|with|just|only|beyond|"
        r"outside|fully|perfectly|exactly|quite|elsewhere)\b)",
        rf"(?:{IGNORES}|{FAILS_TO}{DO}) {THE}{EDIT}",
        rf"{FAILS_TO}{DO} (?:anything (?:of )?)?what {WISH}",
        rf"no (?:requested|visible|asked-for|such) (?:change|edit) {BE} {MORE}{THERE}{END}",
        rf"(?:none|not one) of the {EDIT} {IS_THERE}|nothing (?:at all )?happened{END}",
        rf"{NO} {BE} {MORE}(?:done|edited|carried out|changed){END}",
        r"(?:editor|edit|model|it|and|but) (?:does|did|has done|made|makes) "
        rf"(?:absolutely |simply )?(?:nothing|no (?:edit|change)s?){END}",
        r"(?:no|not the slightest|without any|without an) (?:sign|trace|hint|attempt|evidence) "
        rf"(?:\w+ )?(?:of|at|to) (?:the |any |this )?(?:{EDIT}|follow|what {WISH})",
        rf"{EDIT} (?:has|had|left|shows?|showed) no (?:visible )?(?:effect|trace|result)",
        rf"{EDIT} {BE} {MORE}(?:missing|absent|nowhere)(?! nothing)",
        rf"{RESULT} {BE} {MORE}(?:(?:identical to|the same as|a copy of) {SOURCE}|unedited)",
        r"(?:left|leaves?|returned|returns) the (?:whole |entire |source |original )?(?:picture|"
        rf"image|photo|source) {MORE}(?:as it was|unchanged|untouched|unedited|unaltered){END}",
        rf"(?:(?<!in )(?<!of )(?:the|both)(?: two)? {PICTURE}s|"
        rf"{SOURCE} and (?:the )?(?:edited|second|result)"
        rf"(?: (?:{PICTURE}|one))?) are {MORE}(?:identical|the same){END}",
    ),
    "consistency": (
        rf"{MANY} (?:\w+ )?{UNASKED} (?:\w+ )?{CHANGES}",
        rf"{MANY} (?:other|unrelated|further|more) (?:\w+ )?\w+ (?:{BE} )?{MORE}{SPOILT}"
        rf"{STOP}",
        rf"{MANY} {PARTS} (?:that |which )?(?:nobody|no one|not|were not|should) "
        rf"(?:[\w'-]+ ){{1,4}}?(?:{BE} )?{SPOILT}{STOP}",
        rf"{CHANGES} (?:\w+ )?(?:everywhere|all over|throughout|abound)",
        rf"(?<!in )(?<!into )(?<!to )(?:{TOTALLY} (?:another|an? (?:different|new|unrelated))|"
        rf"an? {TOTALLY} (?:different|new|unrelated)) {PICTURE}",
        rf"{RESULT} (?:is|became|has become|(?:has )?turned into) (?:now )?an? {TOTALLY} "
        r"(?:different|new|unrelated) one",
        rf"{RESULT} {BE} {TOTALLY} {RUINED}|"
        rf"the (?:whole|entire) {PICTURE} {BE} {MORE}(?:regenerated|replaced|destroyed|ruined)",
        rf"{REST} (?:(?:{BE}|has|have) )?(?:(?!not\b)\w+ )?{MORE}{SPOILT}{STOP}|"
        rf"all of the other \w+ {BE} {MORE}{SPOILT}|{REST} {IS_NOT} {MORE}{SAME}",
        rf"(?:{REST}|{RESULT}|everything|all(?: the)? \w+) (?:(?:{BE}|has|have) )?changed "
        r"beyond (?:all )?recognition",
        rf"{NO} (?:else |of {SOURCE} |of the (?:\w+ )?(?:{PICTURE}|rest|background) |"
        rf"(?:outside|beyond|besides|around){WHERE} )?{BE} {MORE}(?:{SAME}|left|"
        r"recogni[sz]able|where it was|respected)",
        rf"{NO} (?:of (?:{SOURCE}|it) |else )?(?:survives|survived|remains|remained){END}|"
        rf"{NO} of {SOURCE} (?:survives|survived|remains|remained)|{UNLIKE} {SOURCE}",
        rf"{SOURCE} (?:{IS_NOT}|is no longer|can (?:no longer|hardly|barely|scarcely|not) be|"
        rf"cannot be|can't be) {MORE}(?:recogni[sz]able|recogni[sz]ed|preserved|kept|respected)|"
        rf"{SOURCE} {BE} {MORE}(?:replaced|thrown away|discarded|destroyed|ruined|overwritten)",
        rf"{FAILS_TO}(?:{KEEP}|leave) (?:{REST}|{SOURCE}|anything|any of)|"
        rf"(?:{KEEP}[sd]?|kept) (?:almost |practically )?(?:nothing|hardly anything)",
        rf"(?:{IGNORES}|without(?: any)? regard for|no regard for) (?:{REST}|{SOURCE})",
        rf"{SPOILS} (?:{REST}|(?:almost |nearly )?everything(?: else|{END}))",
    ),
}
