"""Which part of the body a device says that it has examined, in whatever language."""

import re
import unicodedata
from typing import Literal

BodyPart = Literal["chest", "other", "unknown", ""]

_SPINE = re.compile(
    # Before the chest, since "thoracic spine" and "Brustwirbelsäule" lie in it.
    r"spin[ae]|wirbel|\b[bhl]ws\b|vertebr|wervel|colum|colonna|coluna|rachis"
    r"|rygrad|ryggrad|kregosl|позвон|脊|椎|척추"
)
_CHEST = re.compile(
    # Latin, English and what nearly all languages share. Between T and RAX may stand whatever a
    # wrong character set makes of an accented O.
    r"chest|\bcxr\b|\bche?st\b|thora|\bthx\b|\bt.{1,3}ra[xck]|lung(?!h)|heart|card"
    r"|pulm|polmon|poum|poitrin|pecho|peito|brust|borst|longen|bryst|brost|rintak|keuhk"
    r"|klatk|piers|pluc|hrud|\bplic|prsni|grudn|mellkas|gogus|akciger|\bparu|\bdada\b|\bnguc"
    r"|груд|легк|леген|торак|\bогк\b|θωρα|πνευμον|胸|肺|흉|가슴|폐|صدر|חזה|ทรวงอก|छाती"
    # The codes of SNOMED for the chest and what is in it.
    r"|\bt ?d3000\b|\b51185008\b|\b816094009\b|\b39607008\b|\b80891009\b"
)
_OTHER = re.compile(
    r"\b(?:abd|bauch|vent[re]|addom|buik|brzuch|bric|skull|schad|cran|head|kopf|kop\b|cabe|testa"
    r"|tete|glow|hlav|brain|neck|hals|cuell|coll[oi]|cou\b|nek\b|cerv|lumb|sacr|kreuzb|cocc|pelv"
    r"|beck|bassin|bacin|bekken|mied|panev|hip|huft|hanche|cader|anca|quadr|heup|biodr|femur|thigh"
    r"|obers|knee|knie|genou|rodil|ginoc|joelh|kola?n|patel|kolen|tibia|fibul|leg|unters|jambe"
    r"|pier?na|gamb[ae]|perna|ankle|sprung|chevil|tobil|cavig|torno|enkel|foot|feet|fuss|pied|pie\b"
    r"|piede|pe\b|voet|stop[ay]|toe|zeh|calc|heel|ferse|should|schult|epaul|hombr|spall|ombro"
    r"|schoud|bark|clav|scap|hume|arm|bras|braz|brac|elbow|ellen|coude|codo|gomit|cotov|lokiec"
    r"|forea|ulna|radius|wrist|handg|poig|mune|polso|punho|pols\b|hand|main|mano|mao\b|reka"
    r"|finger|doigt|dedo|dito|vinger|palec|thumb|daum|extrem|jaw|mand|kiefer|maxi|kaak|tooth"
    r"|teeth|zahn|dent|zab|sinus|nose|nas[ae]|orbit|face|facial|gesicht|breast|mamm|stern"
    r"|[tlrbu]? ?(?:hand|foot|knee|hip|arm|leg)s?\b|whole spine|up exm|low exm)"
    r"|abdom|живот|брюш|череп|голов|колен|кист|стоп|таз|плеч|腹|頭|头|膝|手|足|骨盤|骨盆|肩|肘|腕|股|顎"
    r"|복부|두부|무릎|골반|어깨|손|발"
)


def body_part(stated: str) -> BodyPart:
    """Return whether a text means the chest, another part, none that is known, or is empty.

    What lies beside the chest counts as the chest ("CHEST/ABDOMEN"), the thoracic spine does not.
    Case, accents, views and separators do not matter.
    """
    apart = unicodedata.normalize("NFKD", stated).casefold().replace("ł", "l").replace("ø", "o")
    folded = "".join(one for one in apart if not unicodedata.combining(one))
    words = " ".join(re.split(r"[\W_]+", unicodedata.normalize("NFC", folded))).strip()
    if not words:
        return ""
    if _SPINE.search(words):
        return "other"
    if _CHEST.search(words):
        return "chest"
    return "other" if _OTHER.search(words) else "unknown"
