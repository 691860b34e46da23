"""German."""

from imgsvc.imaging.intent.meanings import Head, Mark, Meaning

WORDS: dict[Meaning, str] = {
    Head.GRAYSCALE: "graustufen, graustufe, schwarz weiß, schwarzweiß, schwarz und weiß,"
    " schwarzweiss, monochrom, schwarz & weiß, sw",
    Head.SEPIA: "sepia, sepiaton",
    Head.INVERT: "invertiere, invertieren, invertiert, umkehren, umgekehrt, kehre, negativ",
    Head.BLUR: "weichzeichnen, weichzeichner, zeichne weich, weich, unscharf, unschärfe,"
    " verschwommen, verwische, verwischen, verwischt, weicher, unschärfer",
    Head.SHARPEN: "schärfe, schärfen, schärfer, geschärft, scharf, scharfzeichnen, nachschärfen",
    Head.ENHANCE: "verbessere, verbessern, verbessert, aufpeppen, optimiere, optimieren, peppe",
    Head.BRIGHTNESS: "helligkeit, belichtung",
    Head.BRIGHTEN: "heller, hell, aufhellen, helle, aufgehellt, erhelle",
    Head.DARKEN: "dunkler, dunkel, abdunkeln, verdunkle, verdunkeln, dunkle, abgedunkelt",
    Head.CONTRAST: "kontrast, kontrastreich, kontrastreicher, kontraste",
    Head.SATURATION: "sättigung, farbsättigung",
    Head.SATURATE: "gesättigt, gesättigter, bunter, bunt, farbiger, farbenfroh, farbenfroher,"
    " kräftiger",
    Head.DESATURATE: "entsättigen, entsättige, entsättigt, blasser",
    Head.WARMTH: "farbtemperatur",
    Head.WARM: "wärmer, wärme, warm, warmen",
    Head.COOL: "kühler, kühl, kalt, kälter, kühle, kühlen",
    Head.ROTATE: "drehe, drehen, dreh, gedreht, rotiere, rotieren, rotiert, drehung, drehst",
    Head.TURN: "kippe",
    Head.FLIP: "spiegeln, spiegle, spiegel, spiegele, gespiegelt, spiegelverkehrt, umklappen",
    Head.CROP: "zuschneiden, schneide, zugeschnitten, beschneiden, beschneide, beschnitten,"
    " zuschnitt, schneiden",
    Head.RESIZE: "skaliere, skalieren, skaliert, größe, groesse, bildgröße, auflösung",
    Head.SHRINK: "verkleinern, verkleinere, verkleinert, kleiner",
    Head.ENLARGE: "vergrößern, vergrößere, vergrößert, größer, groesser, vergroessern",
    Head.THUMBNAIL: "vorschaubild, miniaturbild, miniaturansicht, daumennagel, vorschau",
    Head.BORDER: "rahmen, rand, umrandung, bilderrahmen, umrahme, ränder, gerahmt",
    Head.CORNERS: "abgerundete ecken, runde ecken, ecken abrunden, runde ecken ab, abgerundeten"
    " ecken, runden ecken, ecken ab, abgerundet, abrunden, ecken rund, ecken runden",
    Head.POSTERIZE: "posterisieren, posterisiere, posterisiert, tontrennung",
    Head.SOLARIZE: "solarisieren, solarisiere, solarisiert, solarisation",
    Head.EMBOSS: "prägen, präge, prägung, geprägt",
    Head.EDGES: "kanten, kantenerkennung, konturen, umrisse",
    Head.SKETCH: "skizze, bleistiftzeichnung, strichzeichnung, bleistift, bleistiftskizze",
    Head.PIXELATE: "verpixeln, verpixele, verpixle, verpixelt, mosaik, pixelig",
    Head.VIGNETTE: "vignettierung, dunkle ecken, randabdunklung",
    Head.TEXT: "schrift, schriftzug, beschriftung, beschrifte, schreibe, schreib, titel,"
    " aufschrift, wasserzeichen, bildunterschrift",
    Head.CONVERT: "konvertiere, konvertieren, umwandeln, wandle, wandele, umgewandelt, speichere,"
    " speichern, exportiere, abspeichern, konvertiert",
    Mark.PERCENT: "prozent",
    Mark.DEGREES: "grad",
    Mark.PIXELS: "pixeln",
    Mark.WIDTH: "breit, breite",
    Mark.HEIGHT: "hoch, höhe",
    Mark.LEFT: "links, gegen uhrzeigersinn, linksherum, entgegen uhrzeigersinn",
    Mark.RIGHT: "rechts, uhrzeigersinn, im uhrzeigersinn, rechtsherum",
    Mark.HORIZONTAL: "waagerecht, waagrecht, waagerechte",
    Mark.VERTICAL: "vertikal, senkrecht",
    Mark.AROUND: "kopf, auf kopf, kopfüber",
    Mark.TOP: "oben, oberen",
    Mark.CENTRE: "mitte, mittig, zentriert",
    Mark.BOTTOM: "unten, unteren",
    Mark.SQUARE: "quadratisch, quadrat, quadratisches",
    Mark.HALF: "hälfte, halb, halbe, halbiere, halbieren",
    Mark.DOUBLE: "doppelt, doppelte, verdopple, verdoppeln, doppelten",
    Mark.MORE: "mehr, erhöhe, erhöhen, steigere, steigern, verstärke, stärker, höher, erhöht",
    Mark.LESS: "weniger, verringere, verringern, reduziere, reduzieren, senke, senken, vermindere,"
    " niedriger, geringer",
    Mark.SLIGHTLY: "leicht, etwas, bisschen, wenig, leichte, leichten, dezent",
    Mark.STRONGLY: "stark, sehr, viel, deutlich, starke, starken, kräftig",
    Mark.TARGET: "auf, bis",
    Mark.AS: "als, ins",
    Mark.ADD: "füge, hinzufügen, setze, ergänze, einfügen, zeichne, platziere",
    Mark.MAKE: "mach, mache, machen, ändere",
    Mark.NOT: "ohne, kein, keine, keinen, keinem, keiner, nie, niemals, entferne, entfernen,"
    " lösche, statt, anstatt",
    Mark.NOT_AFTER: "nicht",
    Mark.AND: "und, mit, sowie, auch, außerdem, zusätzlich",
    Mark.OR: "oder, noch",
    Mark.STOP: "dann, danach, aber, sondern, anschließend, zuletzt, zum schluss",
    Mark.ARTICLE: "der, die, das, den, dem, des, ein, eine, einen, einem, einer, es, sein, seine",
    Mark.FILLER: "bitte, bild, foto, bilder, fotos, bildes, aufnahme, wende, zu, zum, zur, nach,"
    " im, vom, von, ab, am, farben, farbe, farbig, kannst, könntest, ich, möchte, will, soll,"
    " sollte, wird, werden, gib, stelle, stell, hinzu, ganze, gesamte, effekt, filter, als auch,"
    " format, seitenverhältnis, ist, sie, ihm, ihn, darauf, drauf, so, nur, mir, ganz, look, dick,"
    " dicken, dicker, breiten, breiter, einmal, mal, jetzt, bei, aus, lass, bringe, winkel, damit,"
    " dass, hätte, gerne, haben, sei, sehen, aussehen",
}
