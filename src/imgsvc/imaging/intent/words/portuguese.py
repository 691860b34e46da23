"""Portuguese."""

from imgsvc.imaging.intent.meanings import Head, Mark, Meaning

WORDS: dict[Meaning, str] = {
    Head.GRAYSCALE: "escala de cinza, tons de cinza, escala de cinzas, preto e branco,"
    " monocromático, tons de cinzento",
    Head.SEPIA: "sépia",
    Head.INVERT: "inverte, inverter, inverta, invertido, invertida, negativo",
    Head.BLUR: "desfoca, desfocar, desfoque, desfocado, desfocada, embaçar, embaçado, desfocagem,"
    " embace",
    Head.SHARPEN: "nitidez, nítido, nítida, afiar, focar, foque, aguçar",
    Head.ENHANCE: "melhora, melhorar, melhore, aprimora, aprimorar, aprimore, realce, realçar",
    Head.BRIGHTNESS: "brilho, exposição, luminosidade",
    Head.BRIGHTEN: "clareia, clarear, clareie, claro, clara, brilhante, ilumine",
    Head.DARKEN: "escurece, escurecer, escureça, escuro, escura",
    Head.CONTRAST: "contraste",
    Head.SATURATION: "saturação",
    Head.SATURATE: "satura, saturar, sature, saturado, colorido, colorida, vívido, vivas",
    Head.DESATURATE: "dessatura, dessaturar, dessature, dessaturado",
    Head.WARMTH: "calor, temperatura",
    Head.WARM: "quente, quentes, aquece, aquecer, aqueça",
    Head.COOL: "frio, fria, frios, frias, esfria, esfriar, arrefecer",
    Head.ROTATE: "gira, girar, gire, roda, rodar, rode, rotaciona, rotacionar, rotacione, rotação",
    Head.FLIP: "espelha, espelhar, espelhe, espelho, vira, virar, vire, espelhado, inverta na"
    " horizontal, inverta na vertical",
    Head.CROP: "recorta, recortar, recorte, corta, cortar, corte, recortado",
    Head.RESIZE: "redimensiona, redimensionar, redimensione, tamanho, escala, dimensões",
    Head.SHRINK: "menor, encolhe, encolher, encolha, mais pequeno, mais pequena",
    Head.ENLARGE: "maior, amplia, ampliar, amplie",
    Head.THUMBNAIL: "miniatura",
    Head.BORDER: "borda, bordas, moldura, contorno, margem",
    Head.CORNERS: "cantos arredondados, arredonda cantos, arredondar cantos, arredonde cantos,"
    " bordas arredondadas",
    Head.POSTERIZE: "posteriza, posterizar, posterize, posterização",
    Head.SOLARIZE: "solariza, solarizar, solarize, solarização",
    Head.EMBOSS: "relevo, alto relevo, em relevo",
    Head.EDGES: "contornos, detectar bordas, detecta bordas, detecção de bordas",
    Head.SKETCH: "esboço, desenho a lápis, rascunho, lápis",
    Head.PIXELATE: "pixeliza, pixelizar, pixelize, pixelar, pixelado, mosaico, pixele",
    Head.VIGNETTE: "vinheta, vinhetagem, vinhete",
    Head.TEXT: "texto, escreve, escrever, escreva, título, legenda, marca d'água",
    Head.CONVERT: "converte, converter, converta, salva, salvar, salve, exporta, exporte, guarde",
    Mark.PERCENT: "por cento, porcento",
    Mark.DEGREES: "graus",
    Mark.PIXELS: "píxeis, pixels",
    Mark.WIDTH: "largura",
    Mark.HEIGHT: "altura",
    Mark.LEFT: "esquerda, anti horário, sentido anti horário",
    Mark.RIGHT: "direita, horário, sentido horário",
    Mark.HORIZONTAL: "horizontalmente",
    Mark.VERTICAL: "verticalmente",
    Mark.AROUND: "cabeça para baixo, de cabeça para baixo, ponta cabeça",
    Mark.TOP: "topo, no topo, em cima, acima",
    Mark.CENTRE: "meio, no meio, no centro, centralizado",
    Mark.BOTTOM: "embaixo, em baixo, rodapé, no rodapé, no fundo",
    Mark.SQUARE: "quadrado, quadrada",
    Mark.HALF: "metade",
    Mark.DOUBLE: "dobro, dobre",
    Mark.MORE: "mais, aumenta, aumente, aumentar, eleve",
    Mark.LESS: "menos, reduza, reduz, diminua, diminuir, diminui, abaixe",
    Mark.SLIGHTLY: "ligeiramente, pouco, leve, levemente, um pouco",
    Mark.STRONGLY: "muito, forte, fortemente, bastante",
    Mark.TARGET: "para, até, ao",
    Mark.AS: "em, como",
    Mark.ADD: "adiciona, adicionar, adicione, acrescenta, acrescente, coloca, coloque, ponha, põe,"
    " insira, inserir",
    Mark.NOT: "sem, não, nunca, nenhum, nenhuma, remove, remova, remover, elimine, tira, tire,"
    " nem, apague",
    Mark.AND: "e, com, também",
    Mark.STOP: "depois, então, em seguida, por fim",
    Mark.ARTICLE: "o, os, um, uma, seu, sua, esta, este, essa, da, dos, das",
    Mark.FILLER: "imagem, foto, fotografia, por favor, faz, faça, fazer, deixa, deixe, deixar,"
    " aplica, aplique, aplicar, torna, torne, cor, cores, efeito, filtro, por, na, nas, nos,"
    " pra, que, quero, pode, espessura, tom, toda, todo, se, formato, seja, mude, muda,"
    " sobre, transforme, proporção, sentido, uso, use, ela, ele",
}
