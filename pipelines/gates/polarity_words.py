"""Words of which the phrases of polarity_phrases.py are built: quantifiers, parts and states."""

from __future__ import annotations

BE = (
    r"(?:is|are|was|were|has been|have been|had been|got|remains?|remained|stays?|stayed|looks?|"
    r"came out)"
)
NOT = r"(?:not|never|in no way|by no means|nowhere|hardly|barely|scarcely)"
IS_NOT = (
    rf"(?:{BE} {NOT}|(?:is|are|was|were)n't|ha(?:s|ve|d) (?:not|never) been|ha(?:s|ve|d)n't been)"
)
# Adverbs that leave what they stand before as it is.
MORE = (
    r"(?:(?:just|also|all|both|so|still|simply|quite|clearly|completely|entirely|totally|wholly|"
    r"fully|perfectly|exactly|precisely|faithfully|correctly|properly|accurately|utterly|"
    r"absolutely|well|left|been|being|almost|nearly|practically|virtually|visibly|either) ){0,2}"
)
WHOLLY = (
    r"(?:completely|entirely|totally|wholly|fully|perfectly|exactly|precisely|faithfully|"
    r"flawlessly|utterly|altogether)"
)
TOTALLY = r"(?:almost )?(?:completely|entirely|totally|wholly|utterly|altogether)"
IN_FULL = (
    rf"(?:{WHOLLY}|to the letter|in full|in (?:every|all) (?:\w+ )?(?:respect|detail|point|way|"
    r"part)s?|without (?:a |any )?(?:fault|flaw|error|mistake|exception|fail)s?)"
)
# Nothing follows that says where, how or to what.
END = r"(?=\s*(?:[.,;!]|$)| at all\b| whatsoever\b| anywhere\b)"
STOP = r"(?=\s*(?:[.,;!]|$)| and\b)"

# What was asked for, in one word and as a clause.
ASKED = r"(?:asked|requested|ordered|wanted|demanded|instructed|called for|specified|described)"
WISH = (
    rf"(?:(?:that |which )?(?:was|were|had been|is|has been) {ASKED}(?: for| of it)?|"
    rf"{ASKED}(?: for)?|(?:named|mentioned|listed|{ASKED}) (?:in|by) the \w+|"
    r"(?:that |which )?(?:the (?:user|instruction|request|prompt|text)|it|one) (?:had )?"
    r"(?:asks?|asked|wants?|wanted|demands?|demanded|says|calls?|requests?|requires?|names?|"
    r"mentions?|describes?)(?: for)?)"
)
ORDER = r"(?:instructions?|requests?|orders?|commands?|demands?|tasks?)"
EDIT = rf"(?:{ORDER}|edits?|(?:requested|asked-for|desired|required|wanted|ordered) \w+)"
NAMED = rf"(?:named|required|mentioned|{ASKED}) \w+"
# All of it, or nothing of it.
EVERY = (
    r"(?:everything|all|all of it|(?:every|each|all)(?: single| last| one)?(?: of)?(?: the| its)? "
    r"(?:\w+ )?\w+)"
)
NIL = (
    r"(?:nothing|none|not one|not a thing|(?:almost|nearly|practically|virtually|next to) nothing|"
    r"(?:hardly|barely|scarcely) anything)"
)
NO = (
    rf"(?:{NIL}|(?:no|not one|not a|not a single|none of the|not one of the|neither of the) "
    r"(?:\w+ )?\w+)"
)
DONE = (
    r"(?:followed|carried out|executed|performed|applied|made|done|fulfilled|reali[sz]ed|met|"
    r"implemented|satisfied|obeyed|honou?red|respected|completed|achieved|attempted|heeded|"
    r"delivered|taken into account|taken up|acted (?:up)?on)"
)
THERE = (
    rf"(?:{DONE}|there|present|shown|visible|depicted|drawn|rendered|included|in place|"
    r"in the (?:picture|image|scene)|(?:to be )?(?:seen|found)|right|correct|"
    rf"as {ASKED}|as it should be)"
)
IS_THERE = rf"(?:{BE} {MORE}{THERE}|appears?{END}|can be (?:seen|found))"
LOST = (
    r"(?:missing|absent|left out|omitted|wrong|lacking|overlooked|forgotten|incorrect|missed|"
    r"neglected|ignored|lost)"
)
REQUEST = rf"(?:the (?:prompt|{ORDER})|{WISH}|(?:the )?{NAMED})"
DOES = (
    r"(?:follow(?:s|ed)?|carrie[sd] out|executes?|executed|fulfil(?:s|led)?|fulfills?|"
    r"match(?:es|ed)?|meets?|met|satisf(?:y|ies|ied)|obey(?:s|ed)?|honou?r(?:s|ed)?|"
    r"reali[sz]e[sd]?|implement(?:s|ed)?|deliver(?:s|ed)?|corresponds? (?:to|with)|agrees? with|"
    r"fits?|reflects?|shows?|depicts?|captures?|renders?|does|did)"
)
FAILS_TO = (
    r"(?:(?:(?:does|do|did|has|have) (?:not|never)|(?:does|do|did)n't) (?:\w+ )?|never |"
    r"fail(?:s|ed)? (?:\w+ )?to |neglect(?:s|ed)? to |refus(?:es|ed) to )"
)
DO = (
    r"(?:follow|carry out|execute|fulfill?|match|meet|satisfy|obey|honou?r|reali[sz]e|implement|"
    r"deliver|correspond to|correspond with|agree with|fit|reflect|show|depict|respect|do|heed|"
    r"address|act on|apply)"
)
IGNORES = (
    r"(?:ignor(?:es?|ed|ing)|disregard(?:s|ed|ing)?|neglect(?:s|ed|ing)?|contradict(?:s|ed|ing)?|"
    r"def(?:ies|ied)|overlook(?:s|ed|ing)?)"
)
IGNORED = r"(?:ignored|disregarded|neglected|overlooked|passed over)"
THE = (
    r"(?:the (?:whole |entire )?|everything in the |this |any of the |every |"
    r"(?:all|any part)(?: of the)? )?"
)
UNLIKE = (
    r"(?:(?:has|have|had|bears?|bore|shows?|with) (?:absolutely |practically |almost )?"
    r"(?:nothing (?:to do|in common)|(?:no|little|hardly any) (?:\w+ )?(?:relation|connection|"
    r"resemblance|likeness|similarity|link|relationship)) (?:with|to)|nothing to do with|"
    r"unrelated to)"
)
FILLS = (
    r"(?:perfect|exact|faithful|complete|flawless|precise|faultless|accurate|true) "
    r"(?:match|rendering|depiction|rendition|"
    r"reali[sz]ation|fit|fulfilment|illustration|execution|implementation) (?:of|for|to|with) "
    rf"(?:the (?:\w+ )?(?:prompt|{ORDER}|edit)|what {WISH})"
)

# Of edits.
PICTURE = r"(?:picture|image|photo|photograph|scene|composition)"
SOURCE = rf"(?:the )?(?:source|original|first|input)(?: {PICTURE})?"
RESULT = (
    rf"(?:(?:whole|entire|edited|second|output|final) {PICTURE}|result|output|"
    rf"(?<!of )(?<!in )the {PICTURE})"
)
PARTS = r"(?:things?|parts?|areas?|regions?|objects?|elements?|details?|pixels?|features?)"
# The words of a part, up to what is said of it.
NO_STATE = r"(?!(?:is|was|are|were|has|have|remains?|stays?|looks?|could|would)\b)"
WHERE = rf"(?: {NO_STATE}[\w'-]+){{0,6}}?"
BEYOND = r"(?:else|outside|beyond|besides|apart from|other than|around|away from|unrelated to)"
REST = (
    rf"(?:(?:(?:everything|anything|all|(?:every|each|all)(?: single)?(?: the)? (?:\w+ )?{PARTS}|"
    rf"the (?:\w+ )?{PARTS}|what(?:ever)?(?: (?:is|was|lies|lay|stands|stood))?) "
    rf"(?:{BEYOND}|not (?:named|mentioned|asked|meant|concerned))|"
    r"(?:everything|all|whatever|what)(?: in the \w+)?(?: that| which)? "
    r"(?:(?:(?:the|it|this) )?(?:\w+ )?(?:was|is|were|should|did|does|had) )?(?:not|nobody|\w+n't) "
    rf"{NO_STATE}\w+){WHERE}|"
    r"(?:all|every|each|all of the)(?: the)? (?:other|remaining) "
    rf"(?:{NO_STATE}\w+ )?\w+(?: of the \w+)?|the (?:other|remaining) {PARTS}|"
    r"(?:all (?:of )?)?the (?:whole |entire )?(?:rest|remainder)"
    rf"(?: of (?:the |its )?{NO_STATE}\w+)?|all the rest)"
)
SAME = (
    r"(?:unchanged|untouched|unaltered|unaffected|unmodified|intact|identical|preserved|kept|"
    r"retained|maintained|the same(?=\s*(?:[.,;!]|$)| as\b| in\b| and\b)|"
    r"the way (?:it|they) (?:was|were)|undisturbed|"
    r"as (?:it|they) (?:was|were)|as before|in place|alone|spared)"
)
TOUCHED = (
    r"(?:changed|altered|touched|modified|affected|moved|disturbed|edited|damaged|shifted|"
    r"different|harmed|lost|added or removed)"
)
RUINED = (
    r"(?:regenerated|destroyed|replaced|lost|ruined|wrecked|unrecogni[sz]able|different|erased)"
)
SPOILT = (
    rf"(?:{RUINED}|redrawn|repainted|overwritten|changed|altered|modified|gone|transformed|"
    r"remade|rebuilt|swapped|wiped out|redone|reworked|invented|distorted|new)"
)
SPOILS = (
    r"(?:destroy(?:s|ed)|replac(?:es|ed)|ruin(?:s|ed)|rewr(?:ites|ote)|redr(?:aws|ew)|"
    r"wreck(?:s|ed)|repaint(?:s|ed)|overwr(?:ites|ote)|chang(?:es|ed)|alter(?:s|ed)|"
    r"wipe[sd] out|erase[sd]|damage[sd]|distort(?:s|ed)|transform(?:s|ed))"
)
UNASKED = (
    r"(?:unintended|unasked|unwanted|unrequested|uncalled-for|accidental|unrelated|additional|"
    r"further|other|extra|collateral|stray|undesired|unprompted|side)"
)
CHANGES = r"(?:changes?|alterations?|differences?|modifications?|effects?|damage|side[- ]effects?)"
MANY = (
    r"(?:many|several|numerous|countless|dozens of|a lot of|lots of|plenty of|a host of|"
    r"a large number of|(?:far )?too many|massive|sweeping|drastic|wholesale)"
)
KEEP = r"(?:preserve|keep|retain|respect|maintain|spare)"
WHOLE = rf"(?:(?:the|all|two|both|whole|entire|edited) )*(?:{PICTURE}s?|everything|result)"
