"""French."""

from imgsvc.imaging.intent.meanings import Head, Mark, Meaning

WORDS: dict[Meaning, str] = {
    Head.GRAYSCALE: "niveaux de gris, niveau de gris, noir et blanc, nuances de gris, monochrome,"
    " noir & blanc, n & b, n b",
    Head.SEPIA: "sépia",
    Head.INVERT: "inverse, inverser, inversez, inversé, inversées, négatif",
    Head.BLUR: "flou, floue, flouter, floute, floutez, flouté, rends flou",
    Head.SHARPEN: "net, nette, netteté, plus net, plus nette, aiguise, aiguiser, accentue,"
    " accentuer",
    Head.ENHANCE: "améliore, améliorer, améliorez, amélioration, embellis, embellir",
    Head.BRIGHTNESS: "luminosité, exposition",
    Head.BRIGHTEN: "éclaircis, éclaircir, éclaircissez, clair, claire, lumineux, lumineuse",
    Head.DARKEN: "assombris, assombrir, assombrissez, sombre, fonce, foncer, foncé",
    Head.CONTRAST: "contraste, contrasté, contrastée, contraster",
    Head.SATURATION: "saturation",
    Head.SATURATE: "sature, saturer, saturé, saturée, coloré, colorée, vif, vive, vives",
    Head.DESATURATE: "désature, désaturer, désaturé",
    Head.WARMTH: "chaleur, température",
    Head.WARM: "chaud, chaude, chaudes, chauds, réchauffe, réchauffer",
    Head.COOL: "froid, froide, froides, froids, refroidis, refroidir",
    Head.ROTATE: "pivote, pivoter, pivotez, rotation, fais pivoter, faire pivoter, tourner, fais"
    " tourner",
    Head.TURN: "tourne, tournez",
    Head.FLIP: "miroir, retourne, retourner, retournez, symétrie, renverse, renverser",
    Head.CROP: "recadre, recadrer, recadrez, recadrage, rogne, rogner, rognez, découpe, découper",
    Head.RESIZE: "redimensionne, redimensionner, redimensionnez, taille, dimensions",
    Head.SHRINK: "plus petit, plus petite, rapetisse, rapetisser, rétrécis, rétrécir",
    Head.ENLARGE: "agrandis, agrandir, agrandissez, plus grand, plus grande",
    Head.THUMBNAIL: "miniature, aperçu",
    Head.BORDER: "bordure, cadre, encadre, encadrer, encadrement, bordures",
    Head.CORNERS: "coins arrondis, arrondis coins, arrondir coins, arrondissez coins, bords"
    " arrondis, arrondis angles, angles arrondis",
    Head.POSTERIZE: "postérise, postériser, postérisation, postérisez",
    Head.SOLARIZE: "solarise, solariser, solarisation, solarisez",
    Head.EMBOSS: "gaufrage, gaufre, gaufrer, estampage",
    Head.EDGES: "contours, détection des contours, détection de contours, détecte contours",
    Head.SKETCH: "croquis, esquisse, dessin au crayon, crayon",
    Head.PIXELATE: "pixelise, pixéliser, pixelisé, pixelliser, pixellise, mosaïque, pixelisez",
    Head.VIGNETTE: "vignettage, coins sombres",
    Head.TEXT: "texte, légende, écris, écrire, écrivez, titre, inscription, filigrane",
    Head.CONVERT: "convertis, convertir, convertissez, enregistre, enregistrer, exporte, exporter,"
    " sauvegarde",
    Mark.PERCENT: "pour cent, pourcent, pourcents",
    Mark.DEGREES: "degrés, degré",
    Mark.WIDTH: "large, largeur",
    Mark.HEIGHT: "hauteur",
    Mark.LEFT: "gauche, sens antihoraire, antihoraire",
    Mark.RIGHT: "droite, sens horaire, horaire, sens des aiguilles",
    Mark.HORIZONTAL: "horizontale, horizontalement",
    Mark.VERTICAL: "verticale, verticalement",
    Mark.AROUND: "à l'envers, envers",
    Mark.TOP: "haut, en haut",
    Mark.CENTRE: "centre, milieu, au centre, centré",
    Mark.BOTTOM: "bas, en bas",
    Mark.SQUARE: "carré, carrée",
    Mark.HALF: "moitié, demi",
    Mark.DOUBLE: "doubler, deux fois",
    Mark.MORE: "plus, augmente, augmenter, augmentez, davantage",
    Mark.LESS: "moins, diminue, diminuer, diminuez, réduis, réduire, réduisez, baisse, baisser",
    Mark.SLIGHTLY: "légèrement, peu, un peu, léger, légère",
    Mark.STRONGLY: "fortement, très, beaucoup, fort, forte, vraiment",
    Mark.TARGET: "à, jusqu'à",
    Mark.AS: "en, au format",
    Mark.ADD: "ajoute, ajouter, ajoutez, mets, insère, insérer, place, mettre",
    Mark.MAKE: "rends, rendre, rendez, fais, faire, faites, transforme, transformer, change,"
    " passe, passer",
    Mark.NOT: "sans, ne, pas, ni, aucun, aucune, jamais, supprime, supprimer, enlève, enlever,"
    " retire, retirer, n, ne pas",
    Mark.AND: "et, avec, ainsi que, aussi",
    Mark.OR: "ou",
    Mark.STOP: "puis, ensuite, après, enfin, finalement",
    Mark.ARTICLE: "le, la, les, l, un, une, du, de, des, d, son, sa, ses, cette, cet, ce, mon, ma",
    Mark.FILLER: "image, photo, s'il te plaît, s'il vous plaît, svp, stp, applique, appliquer,"
    " appliquez, mode, effet, filtre, couleur, couleurs, dans, sur, par, pour, vers, au, aux, je,"
    " tu, veux, voudrais, pouvez, peux, vous, il, elle, tons, ton, toute, tout, format, donne,"
    " moi, que, qui, soit, être, est, photographie, se, lui, rapport",
}
