"""The phrases by which a rationale cites what its readers cannot see, as regular expressions.

What nobody says of a picture (a checklist, item 3), and words that cite a text (the provided list,
the report says). Words that judges use of pictures (change, detail, item) are here only where such
a citation is made of them. Add to it by what real judges write; tests/test_leaks.py has both kinds.
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
    r"fails? to)"
)
# What stands behind "the report" when it is not the first half of another word.
_STANDS_ALONE = (
    r"(?=['\u2019]s (?:mention|list|account|claim)|[,;.:)]|$| (?:that|which|also|only|however|"
    r"fails|makes|and|but|is|was|has|had|with|as|on the|about|above|below|provided|given|itself|"
    r"alone)\b)"
)
_NUMBER = r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)"
# What a verdict is called, and how one is had.
_LABEL = r"[\"'\u201c\u2018]?(?:yes|no|partly|partial|partially|unclear|unsure|uncertain)\b"
_MARKED = (
    r"(?:marked|rated|judged|graded|answered|labell?ed|scored|got|gets|received|receives|earned)"
)
_CHANGE = (
    r"(?:differences?|changes?|edits|modifications|alterations?|discrepanc(?:y|ies)|anomal(?:y|ies)|"
    r"inconsistenc(?:y|ies)|deviations?|issues?|removal|loss|shift|blur|sharpening|side effects)"
)
PHRASES = (
    # Nobody says these of a picture.
    r"(?:the|this|that|my|its|your|every|per|provided|given|no)\s+(?:\w+\s+)?check-?\s?lists?|"
    r"check-?\s?lists? (?:items?|questions?|entries|entry|points?|results?|failures?)",
    r"(?:differences?|changes?) (?:report|list|summary|description|analysis|section)s?",
    r"(?:list|listing|report|summary|description) of (?:the |all )?(?:\w+ )?"
    r"(?:differences|changes|edits|modifications|answers|findings)",
    r"(?:the|this|that) diff|diffs? \d+|d[1-9](?=,? (?:and d\d|is|was|executes|hurts)\b)",
    r"(?:changes?|differences?|comparison|observed-changes|edit|modification)[ -]"
    r"(?:notes|list|log|record|report|summary|breakdown)",
    r"verdicts|(?:a|the|each|every|this|one|no) (?:\S+ )?verdict (?:on|for|of|is|was|that|about|"
    r"table)",
    r"criteria|criterion|crit\. ?\d+|req\. ?\d+|\(?(?:see )?#\d+",
    r"no\. ?\d+(?= (?:was|is|fails|passes|wasn|isn|met)\b)",
    r"per-(?:item|question|point|criterion)",
    r"(?-i:[cq]|^[CQ])(?:[1-9]|1[0-2])"
    r"(?=[,.;:)]| (?:is|was|are|were|and|fails?|passes|got|marked|met|not)\b)",
    r"(?:the )?planner(?:['\u2019]s)?(?= (?:asked|wanted|listed|says|said|points?|items?|"
    r"questions?))|planner['\u2019]s",
    r"(?:critical|non-critical|failing|failed|unmet|satisfied|passing|missed|verified) "
    r"(?:items?|questions?|requirements?|criteri(?:on|a)|checks?|points?)",
    r"at a glance:|on a closer look:",
    r"questionnaire|ground[- ]truth|rubric|the checker|verification step",
    r"(?:evaluation|assessment|verification|scoring) "
    r"(?:points?|sheet|results?|form|questions?|list|notes)",
    r"\w+ ?(?:->|\u2192|=>) ?\w+",
    r"(?:all|most|both|some|none|any) of the bullets|(?:both|the) bullets(?! holes?)",
    # Verdicts, and how many.
    r"[\"'\u201c\u2018](?:yes|no|partly|partial|partially|unclear|unsure)[\"'\u201d\u2019]"
    r"|yes/no",
    rf"(?:was|were|is|are|and|it|they|that|one|item|question|point|received|which) ?{_MARKED} "
    rf"(?:as |a |an )*{_LABEL}(?! (?:longer|more|less))",
    rf"(?:got|gets|received|receives|scores) (?:a |an ){_LABEL}",
    rf"(?:with|confirmed with|answered with) an? {_LABEL}(?= (?:on|for|to)|[.,;])",
    rf"(?:{_NUMBER}|single) (?:yes|partly|unclear|no)(?=[,.:;]| and)|majority of nos",
    r"\d+ ?/ ?\d+ (?:\w+ )*?(?:items|checks|criteria|requirements|points|satisfied|met)",
    r"\d+ ?/ ?\d+ of the|\d+ ?/ ?\d+ satisfied",
    # Items by number, place or subject.
    r"(?:items?|questions?|criterion|entry|check|requirements?|point|bullet|differences?|change) "
    rf"(?:#|no\.? ?|number )?\(?(?:\d+|[a-h]\)|(?:{_NUMBER})\b(?=[,.:;]| and| is| was))",
    r"(?:fails|passes|failed|passed) \d+",
    r"(?:first|second|third|fourth|fifth|last|final|next)(?: (?:two|three|four|few))? "
    r"(?:items?|entry|entries|questions?|bullets?|points?|check)(?: (?:on|of|in) the list)?",
    r"first difference listed",
    r"(?:item|entry|question) (?:about|on|concerning|regarding|of whether|whether|asking|evidence)",
    r"[\"'\u201c](?:\w+ )*\w+[\"'\u201d] (?:items?|questions?|checks?|entries)",
    r"(?:scored|evaluated|assessed|graded|checked) (?:aspects|points|elements|items)(?: above)?",
    r"(?:the|each|every|all|these|those|some|most|unsatisfied|answered) (?:\w+ )?questions"
    r"|unsatisfied question|the question of whether|questions? (?:in|of) the (?:set|list)"
    r"|questions on",
    rf"(?:none|all|most|some|half|any|many|{_NUMBER}|\d+%) (?:of|out of) "
    rf"(?:the |these |those )?(?:{_NUMBER} )?(?:items|checks|criteria|verdicts|answers|responses|"
    rf"points|entries|differences|requirements listed)",
    rf"of the {_NUMBER} differences|items hold",
    r"(?:all|the|most|every|each|these|last|failed|remaining|specified) checks?(?= (?:for|on|of|"
    r"passed|failed|came|pass|states?)|[.,;])|checks? (?:passed|failed|pass|fail)"
    r"|most of the checks|the checks for|specified checks",
    r"(?:the|all|almost all|prior|recorded|negative|positive|affirmative|eight) "
    r"(?:answers|responses)|(?:the|negative|positive|affirmative) answer (?:to|about)"
    r"|answered questions|log of answers",
    r"(?:no|any) failures? (?:were|was) recorded",
    # Whoever writes was given something.
    r"(?:i was|we were|i am|i've been|i have been) (?:told|given|handed|supplied|provided)",
    r"(?:given|handed|supplied|provided|available) to (?:me|us)",
    r"(?:as )?the (?:input|context|text above) (?:shows|notes|describes|says|states|mentions|"
    r"lists)",
    # Texts that are cited.
    rf"(?:the|a|this|these|those|my|per|any) {_GIVEN} (?:\w+ )?{_CITED}",
    rf"(?:the|this|these|those) {_CITED} (?:provided|supplied|given|listed|above)",
    rf"(?:listed|reported|noted|flagged|mentioned|recorded|described|stated|cited|documented) "
    rf"(?:in|by|on|under) (?:the|this|that) (?:\w+ )?{_CITED}",
    rf"(?:according to|based on|as per|per|going by|consistent with|in line with|in view of|on the "
    rf"basis of|considering) (?:the|this) (?:\w+ )?{_CITED}",
    rf"(?:the|this|that|attached) {_TEXT} {_SAYS}",
    rf"(?:the|this|that) reports?{_STANDS_ALONE}",
    r"the evidence|evidence (?:column|says|notes|cites|indicates|states|provided)",
    r"in the notes|(?:in|by|with|from) the (?:description|comparison)(?= it follows|,? that|\.|$)",
    r"(?:the|these|those) (?:differences|changes|answers|annotations|observations|findings) "
    r"(?:say|state|note|mention|list|indicate|confirm|flag|describe|report|noted above)",
    r"as (?:reported|documented|answered|recorded|flagged|noted)(?=[ ,](?! ?(?:in|by)))",
    r"as (?:listed|reported|noted|described|stated|mentioned) (?:above|earlier|before)",
    r"(?:above|preceding|foregoing) (?:list|report|description|differences|changes|results)",
    r"(?:noted|listed|described) above",
    # What somebody noted: the change is called after it.
    r"(?:listed|stated|annotated|reported|recorded|documented|enumerated|itemi[sz]ed|logged|"
    rf"flagged|cited) (?:\w+ )?{_CHANGE}",
    rf"(?:the|any|several|two|no|many|those|these|a) (?:noted|described|mentioned) (?:\w+ )?"
    rf"{_CHANGE}",
    r"(?:the|a|this) (?:reported|flagged|cited|documented) (?:\w+ )?\w+",
    r"(?:is|are|was|were) (?:flagged|reported|documented|recorded|listed|enumerated)"
    r"(?! (?:in|by) the (?:prompt|instruction))",
    rf"{_CHANGE} (?:\w+ )?(?:listed|noted|recorded|reported|on record|enumerated|documented)",
    rf"{_CHANGE} (?:that|which) (?:were|are|was|is) (?:pointed out|listed|reported)",
    r"(?:is|are|was|were) (?:said|reported|noted|listed) (?:to (?:be|have)|as)",
    r"it(?: is|['\u2019]s| was) (?:reported|documented|noted|recorded) that",
    r"what the (?:differences|changes|evidence|report) (?:describes?|says?|shows?|tells?|"
    r"lists?|calls?)",
    r"^flagged:|absence of further entries|on record|no record of",
    rf"(?:differences are limited|{_CHANGE} (?:found|detected),)",
)
