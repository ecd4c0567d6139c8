"""The phrases by which a rationale cites what its readers cannot see, as regular expressions.

What nobody says of a picture (a checklist, item 3), and words that cite a text (the provided list,
the report says). Words that judges use of pictures (change, detail, item) are here only where such
a citation is made of them. They meet lower case. Add to it by what real judges write;
tests/test_leaks.py has both kinds.
"""

from __future__ import annotations

# Texts by nature, and what may be a text when it is cited.
_TEXT = (
    r"(?:reports?|lists?|listings?|notes|findings|verdicts?|assessments?|analysis|summary|"
    r"breakdown|judge?ments?|planner|tally|evidence|observations|annotations)"
)
_CITED = (
    rf"(?:{_TEXT}|differences?|changes|descriptions?|questions|criteria|observations|"
    r"comparisons?|information|data|annotations?|answers|results|entries)"
)
_PAPER = r"(?:reports?|(?:check-?\s?)?lists?|listings?|notes|findings|summary|breakdown|tally)"
_GIVEN = (
    r"(?:provided|supplied|given|listed|reported|enumerated|itemi[sz]ed|documented|aforementioned|"
    r"attached|pre-?(?:filled|computed|recorded))"
)
_SAYS = (
    r"(?:(?:does|do|did) not |(?:does|do|did)n['\u2019]t |never |also |only |clearly |still )?"
    r"(?:says?|said|states?|stated|notes?|noted|mentions?|mentioned|lists?|listed|indicates?|"
    r"indicated|confirms?|confirmed|flags?|flagged|records?|recorded|raises?|describes?|covers|"
    r"points? out|makes? no mention|reports?|reported|shows? that|reveals?|contains?|has|"
    r"identif(?:y|ies|ied)|found|claims?|calls?|suggests?|supports?|adds?|details?|cites?|"
    r"names?|named|fails? to)"
)
# What stands behind "the report" when it is not the first half of another word.
_STANDS_ALONE = (
    r"(?=['\u2019]s (?:mention|list|account|claim)|[,;.:)]|$| (?:that|which|also|only|however|"
    r"fails|makes|and|but|is|was|has|had|with|as|on the|about|above|below|provided|given|itself|"
    r"alone)\b)"
)
_NUMBER = r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)"
# What a verdict is called, and how one is had.
_WORD = r"(?:yes|no|partly|partial|partially|unclear|unsure|uncertain)"
_LABEL = rf"(?:[\"'\u201c\u2018]{_WORD}[\"'\u201d\u2019]|{_WORD}\b(?! longer| more| less|\.? ?\d))"
_MARKED = (
    r"(?:marked|rated|judged|graded|answered|labell?ed|scored|got|gets|received|receives|earned)"
)
# What is said of an item that stands for a requirement, and not of a thing in a picture.
_MET = (
    r"(?:(?:is|are|was|were|has been|have been|got|remains?|stays?)(?:n['\u2019]t)? (?:\w+ )?"
    r"(?:met|unmet|satisfied|unsatisfied|fulfilled|unfulfilled|violated|answered|passed|failed|"
    rf"verified|confirmed|ticked|checked off|marked|rated|judged|graded|scored|critical|{_LABEL})|"
    r"fails?(?! to)|failed(?! to)|passe[sd]|holds?(?= |[.,;])(?! (?:a|an|the|his|her|its|up)\b)|"
    r"asks?|asked|concerns?|calls? for|demands?|requires?|in the (?:check)?list|on the checklist)"
)
_ITEMS = r"(?:items?|checks?|criteri(?:on|a)|points?|requirements?|entry|entries|questions?)"
_CHANGE = (
    r"(?:differences?|changes?|edits|modifications|alterations?|discrepanc(?:y|ies)|anomal(?:y|ies)|"
    r"inconsistenc(?:y|ies)|deviations?|issues?|removal|loss|shift|blur|sharpening|side effects)"
)
# No place in a picture follows.
_NOT_OF_A_PLACE = r"(?! (?:the|a|an|each|his|her|their|its|it|every|both)\b)"
# An item by its id, which is no name of a car: upper case at the start of a rationale alone.
ITEM_ID = (
    r"(?<!\w)(?:[cq]|^[CQ])(?:[1-9]|1[0-2])"
    r"(?=[,.;:)]| (?:is|was|are|were|and|fails?|passes|got|marked|met|not)\b)"
)
PHRASES = (
    # Nobody says these of a picture.
    r"(?:the|this|that|my|its|your|every|per|provided|given|no|against)\s+(?:\w+\s+)?check-?\s?"
    r"lists?|check-?\s?lists? (?:items?|questions?|entries|entry|points?|results?|failures?)",
    r"(?:differences?|changes?) (?:report|list|summary|description|analysis|section)s?",
    r"(?:list|listing|report|summary|description) of (?:the |all )?(?:\w+ )?"
    r"(?:differences|changes|edits|modifications|answers|findings|criteria|requirements|questions)",
    r"(?:the|this|that) diff|diffs? \d+|d[1-9](?=,? (?:and d\d|is|was|executes|hurts)\b)",
    r"(?:changes?|differences?|comparison|observed-changes|edit|modification)[ -]"
    r"(?:notes|list|log|record|report|summary|breakdown)",
    r"verdicts|(?:a|the|each|every|this|one|no) (?:\S+ )?verdict (?:on|for|of|is|was|that|about|"
    r"table)",
    r"crit\. ?\d+|req\. ?\d+|criteri(?:on|a) list",
    rf"no\. ?\d+(?= {_MET})",
    r"per-(?:item|question|point|criterion)",
    r"(?:the )?planner(?:['\u2019]s)? (?:asked|wanted|says|said|points?|items?|questions?|list|"
    r"listed|plan|requirements?)",
    r"(?:critical|non-critical|failing|failed|satisfied|passing|verified) "
    r"(?:items?|questions?|requirements?|criteri(?:on|a)|checks?|points?)",
    r"(?:unmet|missed) (?:items?|questions?|criteri(?:on|a)|checks?|points?)",
    r"(?:marked|flagged|classified|tagged) (?:as )?(?:a )?(?:non-?)?critical",
    r"at a glance:|on a closer look:",
    r"questionnaire|ground[- ]truth|rubric|verification step|"
    r"the (?:checker|annotator|captioner|describer) (?:says|said|found|noted|notes|marked|asks|"
    r"asked|wanted|flagged|saw|listed|wrote|reported|reports)",
    r"(?:evaluation|assessment|verification|scoring) "
    r"(?:points?|sheet|results?|form|questions?|list|notes)",
    r"(?:previous|prior|earlier|preceding) (?:pass|stage|analysis|assessment|answers?|report|"
    r"comparison)",
    rf"(?:(?:all|most|both|some|none|any) of|both|the) (?:the )?bullets(?= {_MET})",
    # Verdicts, and how many.
    r"[\"'\u201c\u2018](?:yes|no|partly|partial|partially|unclear|unsure)[\"'\u201d\u2019]"
    r"|yes/no",
    rf"(?:was|were|is|are|and|it|they|that|one|item|question|point|received|which) ?{_MARKED} "
    rf"(?:as |a |an )*{_LABEL}",
    rf"(?:got|gets|received|receives|scores) (?:a |an ){_LABEL}(?=[.,;:)]|$| (?:on|for|from|here|"
    r"because|as|and)\b)",
    rf"(?:with|confirmed with|answered with) an? {_LABEL}(?= (?:on|for|to)|[.,;])",
    r"answered (?:in the (?:affirmative|negative)|affirmatively|positively|negatively)",
    rf"(?:{_NUMBER}|single) (?:yes|no)(?=[,.:;]| and)|majority of nos|"
    rf"{_NUMBER} (?:partly|unclear)(?=,? (?:and )?{_NUMBER} (?:yes|no|partly|unclear)\b)",
    rf"\d+ ?/ ?\d+ (?:\w+ ){{0,3}}?(?:{_ITEMS}|satisfied|met)",
    # Items by number, place or subject.
    r"(?:items?|questions?|criterion|entry|check|requirements?|point|bullet|differences?|change) "
    rf"(?:#|no\.? ?|number )?\(?(?:\d+|[a-h]\)|(?:{_NUMBER})\b(?=[,.:;]| and| is| was))",
    r"(?:fails|passes|failed|passed) \d+(?=[.,;)]|$| (?:items|checks|questions|criteria)\b)",
    r"(?:first|second|third|fourth|fifth|last|final|next)(?: (?:two|three|four|few))? "
    r"(?:entry|entries|questions?|criteri(?:on|a)|(?:items?|bullets?|points?|check) (?:on|of|in) "
    rf"the list|(?:items?|bullets?|points?|check|requirements?)(?= {_MET}))",
    r"first difference listed",
    r"(?:item|entry|question) (?:about|concerning|regarding|of whether|whether|asking|evidence)",
    r"[\"'\u201c](?:\w+ )*\w+[\"'\u201d] (?:items?|questions?|checks?|entries)",
    r"(?:scored|evaluated|assessed|graded|checked) (?:aspects|points|elements|items)(?: above)?",
    r"(?:the|each|every|all|these|those|some|most|unsatisfied|answered) (?:\w+ )?questions"
    r"|unsatisfied question|the question of whether|questions? (?:in|of) the (?:set|list)"
    rf"|questions on{_NOT_OF_A_PLACE}|{_NUMBER} questions (?:are|were|got|have)",
    rf"(?:none|all|most|some|half|any|many|{_NUMBER}|\d+%) (?:of|out of) "
    rf"(?:the |these |those )?(?:{_NUMBER} )?(?:items|checks|verdicts|answers|responses|"
    rf"points|entries|requirements listed)",
    rf"(?:{_NUMBER}|\d+%) (?:of|out of) (?:the |these |those )?(?:{_NUMBER} )?criteria",
    rf"of the {_NUMBER} (?:differences|criteria)|items hold",
    r"(?:all|the|most|every|each|these|last|failed|remaining|specified) checks?(?= (?:for|on|of|"
    r"passed|failed|came|pass|states?)|[.,;])|checks? (?:passed|failed|pass|fail)"
    r"|most of the checks|the checks for|specified checks",
    r"(?:the|all|almost all|prior|recorded|negative|positive|affirmative|eight) "
    r"(?:answers|responses)|(?:the|negative|positive|affirmative) answer (?:to|about)"
    r"|answered questions|log of answers",
    r"(?:no|any) failures? (?:were|was) recorded",
    # Whoever writes was given something.
    r"(?:i was|we were|i am|i've been|i have been) (?:told|given|handed|supplied|provided)"
    r"(?! (?:with )?(?:(?:the|a|an|two|these|both|only) )*(?:pictures?|images?|photos?|"
    r"instruction|prompt))",
    r"(?:given|handed|supplied|provided|available) to (?:me|us)",
    r"(?:as )?the (?:context|text above) (?:shows|notes|describes|says|states|mentions|lists)|"
    r"(?:as )?the input (?:notes|says|states|mentions|lists)",
    # Texts that are cited.
    rf"(?:the|a|this|these|those|my|per|any) {_GIVEN} (?:\w+ )?{_CITED}",
    rf"(?:the|this|these|those) {_CITED} (?:provided|supplied|given|listed|above"
    rf"{_NOT_OF_A_PLACE})",
    rf"(?:listed|reported|noted|flagged|mentioned|recorded|described|stated|cited|documented) "
    rf"(?:in|by|on|under) (?:the|this|that) (?:\w+ )?{_CITED}",
    rf"(?:according to|based on|as per|per|going by|consistent with|in line with|in view of|on the "
    rf"basis of|considering) (?:the|this) (?:\w+ )?{_CITED}",
    rf"(?:judging (?:by|from)|relying on|drawing on|taken from|learned from|told by|know from|"
    rf"read (?:in|from)|see|reading|consulting|mentioned in|absent from|in) (?:the|my) (?:\w+ )?"
    rf"(?:difference|change|supplied|provided|given) (?:\w+ )?{_PAPER}",
    rf"(?:the|this|that|attached) {_TEXT} {_SAYS}",
    rf"(?:the|this|that) reports?{_STANDS_ALONE}",
    r"evidence (?:column|says|notes|cites|indicates|states|provided)",
    r"in the notes|(?:in|by|with|from) the comparison(?= it follows|,? that|\.|$)|"
    r"from the description(?= it follows|,? that|\.|$)|"
    rf"from the {_PAPER} (?:it follows|(?:i|we|one) (?:sees?|learns?|knows?|takes?))",
    r"(?:the|these|those) (?:differences|changes|answers|annotations|observations|findings|"
    r"criteria) (?:say|state|note|mention|list|indicate|confirm|flag|describe|report|noted above)",
    r"as (?:reported|documented|answered|recorded|flagged)(?=[ ,](?! ?(?:in|by)))",
    r"as (?:listed|reported|noted|described|stated|mentioned) (?:above|earlier|before)"
    rf"{_NOT_OF_A_PLACE}",
    r"(?:the|this|these|those) (?:above|preceding|foregoing) "
    r"(?:list|report|description|differences|changes|results)",
    rf"(?:noted|listed|described) above{_NOT_OF_A_PLACE}",
    # What somebody noted: the change is called after it.
    r"(?:listed|annotated|reported|recorded|documented|enumerated|itemi[sz]ed|logged|"
    rf"flagged|cited) (?:\w+ )?{_CHANGE}",
    rf"(?:the|any|several|two|no|many|those|these|a) noted (?:\w+ )?{_CHANGE}",
    r"(?:the|a|this) (?:reported|flagged|cited|documented) (?:\w+ )?\w+",
    r"(?:is|are|was|were) (?:flagged|reported|documented|recorded|listed|enumerated)"
    r"(?! (?:in|by) the (?:prompt|instruction))",
    rf"{_CHANGE} (?:\w+ )?(?:listed|recorded|reported|on record|enumerated|documented)",
    rf"{_CHANGE} (?:that|which) (?:were|are|was|is) (?:pointed out|listed|reported)",
    r"(?:is|are|was|were) (?:said|reported|noted|listed) (?:to (?:be|have)|as)",
    r"it(?: is|['\u2019]s| was) (?:reported|documented|recorded) that",
    r"what the (?:differences|changes|evidence|report) (?:describes?|says?|shows?|tells?|"
    r"lists?|calls?)",
    r"^flagged:|absence of further entries|(?:is|are|was|were|nothing|differences?|changes?) on "
    r"record(?! (?:player|sleeve|cover)s?)|no record of",
)
